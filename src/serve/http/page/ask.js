// A question, and its answer as it is written, with the pictures that it rests on.

import { stream, thumbnailOf, within as pathOf } from "./api.js";
import { byId, h } from "./dom.js";
import { fileName, percent } from "./format.js";
import { icon } from "./icons.js";
import * as state from "./state.js";

let running = new AbortController();

/** Makes the button work, and follows the state. */
export function start() {
  byId("query-ask").addEventListener("click", () => {
    const question = byId("query").value.trim();
    if (question === "") return byId("query").focus();
    state.set({ q: question, ask: question, view: "", item: "" });
  });
  state.subscribe((now, before) => (now.ask !== before.ask || now.c !== before.c) && follow(now));
  follow(state.get());
}

async function follow({ c, ask: question }) {
  running.abort();
  const box = byId("answer");
  box.hidden = question === "";
  if (question === "") return;
  running = new AbortController();
  const { signal } = running;
  const text = h("p", { class: "answer-text", "aria-live": "polite", "aria-busy": "true" });
  const seen = h("ul", { class: "strip", "aria-label": "Pictures that were looked at" });
  const stop = h("button", { type: "button", class: "ghost round", "aria-label": "Close the answer", onclick: () => state.set({ ask: "" }) }, icon("close"));
  box.replaceChildren(h("header", {}, icon("ask"), h("h2", {}, question), stop), text, seen);
  box.classList.remove("abstained");
  try {
    await stream(pathOf(c, "/ask"), { question }, (event) => {
      if (event.looking) seen.replaceChildren(...event.looking.map((picture) => show(c, picture)));
      if (typeof event.piece === "string") text.append(event.piece);
      if (event.citations) conclude(box, text, seen, event);
    }, { signal });
    if (text.textContent.trim() === "") text.textContent = "No answer came.";
  } catch (error) {
    if (error.name === "AbortError") return;
    text.append(h("span", { class: "error" }, ` ${error.message}`));
  }
  text.removeAttribute("aria-busy");
}

/** Links the answer's `[2]` to their pictures, puts what the whole of it rests on behind it, says what it was held to claim, and tells
 * cited pictures from the others. */
function conclude(box, text, seen, { citations, abstained, claim }) {
  box.classList.toggle("abstained", abstained);
  if (claim) text.after(h("p", { class: "claim" }, `Held against the picture: “${claim.text}” fits with ${percent(claim.match)}.`));
  const cited = new Map(citations.map((one) => [one.number, one]));
  const parts = text.textContent.split(/\[(\d+)\]/);
  const within = new Set(parts.filter((_, at) => at % 2 === 1).map(Number));
  const mark = (number) => h("a", { class: "citation", "aria-label": `Picture ${number}: ${fileName(cited.get(number).key)}`, ...opens(cited.get(number)) }, String(number));
  const linked = parts.map((part, at) => (at % 2 === 0 ? part : cited.has(Number(part)) ? mark(Number(part)) : `[${part}]`));
  const behind = [...cited.keys()].filter((number) => !within.has(number)).flatMap((number) => [" ", mark(number)]);
  text.replaceChildren(...linked, ...behind);
  for (const item of seen.children) item.classList.toggle("aside", !cited.has(Number(item.dataset.number)));
}

const show = (c, picture) =>
  h("li", { "data-number": String(picture.number) }, h("a", { ...opens(picture), "aria-label": `Picture ${picture.number}: ${fileName(picture.key)}` }, h("img", { src: thumbnailOf(c, picture.id, 160), alt: "" }), h("span", { class: "citation" }, String(picture.number))));

const opens = ({ id }) => ({
  href: state.href(state.get(), { item: String(id) }),
  onclick: (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    state.set({ item: String(id) });
  },
});
