// A question, and its answer as it is written, with the pictures that it rests on.

import { stream, thumbnailOf, within as pathOf } from "./api.js";
import { byId, h } from "./dom.js";
import { fileName } from "./format.js";
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
  const sources = h("ul", { class: "strip", "aria-label": "Pictures that the answer rests on" });
  const stop = h("button", { type: "button", class: "ghost round", "aria-label": "Close the answer", onclick: () => state.set({ ask: "" }) }, icon("close"));
  box.replaceChildren(h("header", {}, icon("ask"), h("h2", {}, question), stop), text, sources);
  box.classList.remove("abstained");
  const citations = [];
  try {
    await stream(pathOf(c, "/ask"), { question }, (event) => {
      if (typeof event.piece === "string") text.append(event.piece);
      for (const cited of event.citations ?? []) {
        citations.push(cited);
        sources.append(cite(c, cited, citations.length));
      }
      if (event.abstained) box.classList.add("abstained");
    }, { signal });
    link(text, c, citations);
    if (text.textContent.trim() === "") text.textContent = "No answer came.";
  } catch (error) {
    if (error.name === "AbortError") return;
    text.append(h("span", { class: "error" }, ` ${error.message}`));
  }
  text.removeAttribute("aria-busy");
}

/** Makes `[2]` in the answer a link to the second picture. */
function link(text, c, citations) {
  const whole = text.textContent;
  const parts = whole.split(/\[(\d+)\]/);
  if (parts.length === 1) return;
  text.replaceChildren(...parts.map((part, at) => {
    const cited = at % 2 === 1 ? citations[Number(part) - 1] : undefined;
    if (cited) return h("a", { class: "citation", ...opens(cited) }, part);
    return at % 2 === 1 ? `[${part}]` : part;
  }));
}

const cite = (c, cited, number) =>
  h("li", {}, h("a", { ...opens(cited), "aria-label": `Picture ${number}: ${fileName(cited.key)}` }, h("img", { src: thumbnailOf(c, cited.id, 160), alt: "" }), h("span", { class: "citation" }, String(number))));

const opens = ({ id }) => ({
  href: state.href(state.get(), { item: String(id) }),
  onclick: (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    state.set({ item: String(id) });
  },
});
