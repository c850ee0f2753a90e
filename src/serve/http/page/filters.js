// Filter chips, made from the fields that the collection's own items have, and the condition that they amount to.

import { get as fetchJson, within as pathOf } from "./api.js";
import { byId, h } from "./dom.js";
import { facetPanel, summary } from "./facets.js";
import { label } from "./format.js";
import { icon } from "./icons.js";
import { openUnder } from "./popover.js";
import * as state from "./state.js";
import { complain } from "./toast.js";

/** How many chips stand in the row; the others are behind "More". */
const ROW = 7;

let fields = [];
let loaded = { c: null, ready: Promise.resolve() };

/** Draws the chips whenever the state changes. */
export function start() {
  state.subscribe(draw);
}

/** Learns the collection's fields anew. */
export function reload() {
  loaded = { c: null, ready: Promise.resolve() };
  return ready(state.get()).then(() => draw(state.get()));
}

/** Resolves when the fields of the state's collection are known. */
function ready({ c }) {
  if (loaded.c === c) return loaded.ready;
  const load = fetchJson(pathOf(c, "/fields")).then(
    (answer) => (fields = loaded.c === c ? answer.fields : fields),
    (error) => {
      fields = [];
      if (error.status !== 404) complain(error);
    },
  );
  loaded = { c, ready: load };
  load.then(() => draw(state.get()));
  return load;
}

/** The state's filter as the server reads it; undefined where there is none. */
export async function condition(now) {
  const needsTypes = now.is.size > 0;
  const known = ready(now);
  if (needsTypes) await known;
  const parts = [];
  for (const [name, values] of now.is) parts.push(oneOf(name, values));
  for (const [name, [low, high]] of now.within) {
    if (low !== null) parts.push(`${quote(name)} >= ${low}`);
    if (high !== null) parts.push(`${quote(name)} <= ${high}`);
  }
  if (now.where) parts.push(parts.length ? `(${now.where})` : now.where);
  return parts.join(" and ") || undefined;
}

/** Whether the state filters at all. */
export const isFiltered = ({ is, within, where }) => is.size > 0 || within.size > 0 || where !== "";

/** Takes all filters away. */
export const clear = () => state.set({ is: new Map(), within: new Map(), where: "" });

function oneOf(name, values) {
  const type = fields.find((field) => field.name === name)?.type ?? "keyword";
  const written = values.map((value) => (type === "keyword" ? quote(value, true) : value));
  return written.length === 1 ? `${quote(name)} = ${written[0]}` : `${quote(name)} in (${written.join(", ")})`;
}

/** A name or a value in the filter language: in quotes where a word would not do. */
function quote(text, always = false) {
  if (!always && /^[\p{L}\p{N}_][\p{L}\p{N}_.-]*$/u.test(text)) return text;
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

function draw(now) {
  if (now.view !== "") {
    byId("filter-row").hidden = true;
    return;
  }
  const active = (name) => now.is.has(name) || now.within.has(name);
  // Those in use come first, so that none hides behind "More".
  const rank = (field) => (active(field.name) ? -1 : depth(field));
  const sorted = fields.filter((field) => isUseful(field) || active(field.name)).sort((a, b) => rank(a) - rank(b));
  const plain = sorted.filter((field) => rank(field) < 2).length;
  const row = Math.min(ROW, plain || sorted.length);
  const unknown = [...now.is.keys(), ...now.within.keys()].filter((name) => !fields.some((field) => field.name === name));
  const chips = now.where ? [removable(now.where, () => state.set({ where: "" }))] : [];
  chips.push(...sorted.slice(0, row).map((field) => facetChip(field, now)));
  chips.push(...unknown.map((name) => removable(`${label(name)}: ${summary(now, name)}`, () => forget(name))));
  if (sorted.length > row) chips.push(moreChip(sorted.slice(row)));
  if (fields.length) chips.push(whereChip());
  if (isFiltered(now)) chips.push(h("li", {}, h("button", { type: "button", class: "link", onclick: clear }, "Clear filters")));
  byId("filter-row").hidden = chips.length === 0;
  const focused = document.activeElement?.closest?.("#filters [data-field]")?.dataset.field;
  byId("filters").replaceChildren(...chips);
  if (focused) document.querySelector(`#filters [data-field="${CSS.escape(focused)}"] button`)?.focus();
}

/** Every picture has them, and hardly two alike. */
const TEXTS = ["caption", "path"];
/** What every picture has: of less use than what its owner wrote. */
const BUILT_IN = ["taken", "format", "width", "height", "size"];

/** A field that a person can choose by: values that recur, or a range that is more than a point. */
function isUseful({ name, type, values, distinct, min, max }) {
  if (TEXTS.includes(name) || type === "geo") return false;
  if (type !== "keyword" && type !== "bool") return min !== undefined && min !== null && min !== max;
  const several = (distinct ?? values.length) > 1;
  return several && values.some((value) => value.count > 1);
}

/** 0 for what the owner wrote, 1 for what every picture has, 2 for what lies deeper. */
const depth = ({ name }) => (BUILT_IN.includes(name) ? 1 : /\./.test(name.replace(/^payload\./, "")) ? 2 : 0);

function facetChip(field, now) {
  const on = now.is.has(field.name) || now.within.has(field.name);
  const text = on ? `${label(field.name)}: ${summary(now, field.name)}` : label(field.name);
  const button = h("button", { type: "button", class: on ? "facet on" : "facet", "aria-haspopup": "true", "aria-expanded": "false" }, h("span", { class: "clip" }, text), icon("down"));
  button.addEventListener("click", () => openFacet(button, field));
  const off = on && h("button", { type: "button", class: "facet-off", "aria-label": `Clear the filter on ${label(field.name)}`, onclick: () => forget(field.name) }, icon("close"));
  return h("li", { class: "facet-item", "data-field": field.name }, button, off);
}

const openFacet = (button, field) => openUnder(anchor(button, field), `Filter by ${label(field.name)}`, (panel) => facetPanel(panel, field));

/** The chip is drawn anew while its panel is open: the panel hangs from the one on show. */
const anchor = (button, field) => (button.isConnected ? button : (document.querySelector(`[data-field="${CSS.escape(field.name)}"] button`) ?? byId("filters")));

function moreChip(rest) {
  const button = h("button", { type: "button", class: "facet", "aria-haspopup": "true", "aria-expanded": "false" }, `${rest.length} more`, icon("down"));
  button.addEventListener("click", () =>
    openUnder(button, "More filters", (panel) => {
      panel.append(
        ...rest.map((field) => h("details", {}, h("summary", {}, label(field.name)), facetPanel(h("div", { class: "nested" }), field))),
      );
    }),
  );
  return h("li", {}, button);
}

/** For those who know the language: any condition. */
function whereChip() {
  const button = h("button", { type: "button", class: "facet quiet", "aria-haspopup": "true", "aria-expanded": "false", title: "A condition in words" }, "Condition\u2026");
  button.addEventListener("click", () =>
    openUnder(button, "A condition in words", (panel, close) => {
      const input = h("input", { type: "text", id: "where", value: state.get().where, placeholder: whereExample(), spellcheck: "false", autocapitalize: "off", autocomplete: "off", maxlength: 2000 });
      const form = h("form", { class: "stack" }, h("label", { for: "where" }, "Only pictures where"), input, h("small", {}, "and, or, not; =, !=, <, >=, contains, in (a, b), exists, within 5 km of 48.86, 2.29"), h("button", { type: "submit", class: "primary" }, "Apply"));
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        state.set({ where: input.value.trim() });
        close();
      });
      panel.append(form);
    }),
  );
  return h("li", {}, button);
}

/** A condition of this collection's own words. */
function whereExample() {
  const field = fields.find(({ type, values }) => type === "keyword" && values?.length);
  return field ? `width >= 200 and ${quote(field.name)} = ${quote(field.values[0].value)}` : "width >= 800";
}

function removable(text, remove) {
  return h("li", { class: "facet-item" }, h("span", { class: "facet on" }, h("span", { class: "clip" }, text)), h("button", { type: "button", class: "facet-off", "aria-label": `Clear the filter ${text}`, onclick: remove }, icon("close")));
}

function forget(name) {
  const is = new Map(state.get().is);
  const within = new Map(state.get().within);
  is.delete(name);
  within.delete(name);
  state.set({ is, within });
}

/** Adds one value to a field's filter: from a picture's own facts. */
export function narrow(name, value) {
  const is = new Map(state.get().is);
  is.set(name, [...new Set([...(is.get(name) ?? []), String(value)])]);
  state.set({ is, item: "", view: "" });
}
