// What a visitor without a query sees above the pictures: what can be asked here, in the collection's own words.

import { byId, h } from "./dom.js";
import { many } from "./format.js";
import { isFiltered } from "./filters.js";
import * as state from "./state.js";

const EXAMPLES = 6;

/** Hides it. */
export const hide = () => (byId("hero").hidden = true);

/** Shows it over the first page of the collection's items. */
export function show(now, { items, total }) {
  if (isFiltered(now) || now.ask !== "") return hide();
  const empty = total === 0;
  byId("hero").hidden = false;
  byId("hero").classList.toggle("empty", empty);
  byId("hero-text").textContent = empty
    ? "This collection is empty. Add a folder, or drop some pictures here."
    : "Describe one, drop or paste one, or begin with any of these.";
  const examples = empty ? [] : pick(items);
  byId("examples").replaceChildren(
    ...examples.map((text) => h("li", {}, h("button", { type: "button", class: "example", onclick: () => state.set({ q: text }) }, text))),
    ...(empty ? [h("li", {}, h("button", { type: "button", class: "primary", onclick: () => byId("add-button").click() }, "Add pictures"))] : []),
  );
  if (!empty && examples.length === 0) byId("hero-text").textContent = `${many(total, "picture")}. Describe one, or drop or paste one to find its like.`;
}

/** A few captions that make good queries: of several words, but short, not about being a picture, and of unlike pictures. */
function pick(items) {
  const good = (text) => text.length <= 40 && text.includes(" ") && !/\b(photo|picture|image)\b/i.test(text);
  const texts = items.map(({ captions = [] }) => captions.find(good)).filter(Boolean);
  const step = Math.max(1, texts.length / EXAMPLES);
  const spread = Array.from({ length: EXAMPLES }, (_, at) => texts[Math.floor(at * step)]).filter(Boolean);
  return [...new Set(spread)];
}
