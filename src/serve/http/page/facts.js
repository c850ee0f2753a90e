// What is known of an item, as lists: captions to search for, payload to filter by, EXIF, the file.

import { h } from "./dom.js";
import { narrow } from "./filters.js";
import { bytes, count, label } from "./format.js";
import { icon } from "./icons.js";
import * as state from "./state.js";
import { toast } from "./toast.js";

/** The sections of an item's facts; those without any are left out. */
export function factsOf(item) {
  return [captions(item.captions ?? []), payload(item.payload ?? {}), exif(item.exif ?? {}), file(item)].filter(Boolean);
}

function captions(texts) {
  if (texts.length === 0) return null;
  const line = (text) => h("li", {}, h("button", { type: "button", class: "link", title: "Search for this", onclick: () => state.set({ ...state.cleared(), q: text }) }, text));
  return section(texts.length === 1 ? "Caption" : "Captions", h("ul", { class: "captions" }, texts.map(line)));
}

function payload(fields) {
  const names = Object.keys(fields);
  if (names.length === 0) return null;
  return section("Details", h("dl", {}, names.map((name) => pair(label(name), valueOf(name, fields[name])))));
}

function exif(fields) {
  const names = Object.keys(fields);
  if (names.length === 0) return null;
  return section("Camera", h("dl", {}, names.map((name) => pair(label(name), [plain(fields[name])]))));
}

function file(item) {
  const copy = () =>
    navigator.clipboard ? navigator.clipboard.writeText(item.key).then(() => toast("Copied."), () => toast("The browser refused to copy.", { error: true })) : toast("Copying needs https.", { error: true });
  return section("File", h("dl", {},
    pair("size", [`${count(item.width)} \u00d7 ${count(item.height)} pixels`]),
    item.taken && pair("taken", [item.taken.replace("T", " ")]),
    item.bytes !== undefined && pair("file", [`${item.format ?? ""} ${bytes(item.bytes)}`.trim()]),
    pair("key", [h("span", { class: "key" }, item.key), h("button", { type: "button", class: "ghost round small", "aria-label": "Copy the key", title: "Copy", onclick: copy }, icon("copy"))]),
    pair("id", [h("code", {}, `id:${item.id}`)])));
}

/** A payload value: words, numbers and lists of them filter when pressed; anything deeper is folded away. */
function valueOf(name, value) {
  const all = Array.isArray(value) ? value : [value];
  const simple = (one) => ["string", "number", "boolean"].includes(typeof one) && String(one).length <= 80;
  if (all.every(simple)) {
    return all.map((one) => h("button", { type: "button", class: "value", title: "Only pictures with this", onclick: () => narrow(name, one) }, String(one)));
  }
  if (typeof value === "string") return [value];
  return [h("details", {}, h("summary", {}, Array.isArray(value) ? `a list of ${value.length}` : "an object"), h("pre", { tabindex: "0" }, JSON.stringify(value, null, 1)))];
}

const plain = (value) => (typeof value === "object" && value !== null ? Object.entries(value).map(([name, part]) => `${name} ${part}`).join(", ") : String(value));

const pair = (name, values) => [h("dt", {}, name), h("dd", {}, values)];

const section = (name, body) => h("section", { class: "facts" }, h("h3", {}, name), body);
