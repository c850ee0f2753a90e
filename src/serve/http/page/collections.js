// Which collection is looked at: the switcher, making a new one, and deleting one.

import { get as fetchJson, post, remove, within as pathOf } from "./api.js";
import { byId, h } from "./dom.js";
import { many } from "./format.js";
import { icon } from "./icons.js";
import { openUnder } from "./popover.js";
import * as state from "./state.js";
import { complain, toast } from "./toast.js";

/** Makes the switcher work, and follows the state. */
export function start() {
  byId("collection-button").addEventListener("click", async ({ currentTarget }) => {
    try {
      const { collections } = await fetchJson("collections");
      openUnder(currentTarget, "Collections", (panel, close) => fill(panel, close, collections));
    } catch (error) {
      complain(error);
    }
  });
  byId("collection-form").addEventListener("submit", create);
  state.subscribe((now, before) => {
    draw(now);
    if (now.c !== before.c) look(now);
  });
  draw(state.get());
  look(state.get());
}

function draw(now) {
  byId("collection-name").textContent = now.c;
  const duplicates = byId("duplicates-link");
  duplicates.href = state.href(now, { ...state.cleared(), view: now.view ? "" : "duplicates" });
  if (now.view) duplicates.setAttribute("aria-current", "page");
  else duplicates.removeAttribute("aria-current");
  byId("home").href = state.href(now, state.cleared());
}

/** Learns what the server can do with the collection: what it cannot is not offered. */
async function look({ c }) {
  let features = {};
  try {
    ({ features = {} } = await fetchJson(pathOf(c)));
  } catch {
    // The results say what is wrong with the collection.
  }
  if (state.get().c !== c) return;
  byId("closer").hidden = features.rerank !== true;
  byId("query-ask").hidden = features.ask !== true;
}

function fill(panel, close, all) {
  const now = state.get();
  const to = (name) => () => {
    close();
    state.set({ ...state.cleared(), c: name, rerank: false });
  };
  const line = ({ name, items }) =>
    h("li", {}, h("button", { type: "button", class: "menu-item", "aria-current": name === now.c && "true", onclick: to(name) },
      h("span", { class: "clip" }, name), h("small", {}, many(items, "picture"))));
  const create = h("button", { type: "button", class: "menu-item", onclick: () => {
    close();
    byId("new-error").textContent = "";
    byId("collection-dialog").showModal();
  } }, icon("plus"), h("span", {}, "New collection\u2026"));
  const shown = all.find(({ name }) => name === now.c);
  const drop = shown && h("button", { type: "button", class: "menu-item", onclick: () => {
    close();
    forget(shown, all);
  } }, icon("trash"), h("span", { class: "clip" }, `Delete \u201c${shown.name}\u201d\u2026`));
  panel.classList.add("menu");
  panel.append(h("ul", { "aria-label": "Collections" }, all.map(line)), create, ...(drop ? [drop] : []));
}

/** Deletes a collection once its name was typed, and goes on with another. */
async function forget({ name, items }, all) {
  const typed = prompt(`This deletes \u201c${name}\u201d with what is known of its ${many(items, "picture")}; indexed files stay. Type its name to go on:`);
  if (typed === null) return;
  if (typed.trim() !== name) return toast("Nothing was deleted: that was another name.");
  try {
    await remove(pathOf(name));
    toast(`Deleted \u201c${name}\u201d.`);
    const next = all.find((other) => other.name !== name);
    state.set({ ...state.cleared(), c: next?.name ?? "default", rerank: false });
  } catch (error) {
    complain(error);
  }
}

async function create(event) {
  event.preventDefault();
  const name = byId("new-name").value.trim();
  const model = byId("new-model").value.trim();
  byId("new-error").textContent = "";
  try {
    await post("collections", { name, ...(model && { model }) });
    byId("collection-dialog").close();
    byId("collection-form").reset();
    state.set({ ...state.cleared(), c: name });
  } catch (error) {
    byId("new-error").textContent = error.message;
  }
}
