// The terms beyond what is typed in the search box, as chips: words, pictures and items, each with a sign and a weight.

import { imageOf, thumbnailOf } from "./api.js";
import { byId, debounced, h } from "./dom.js";
import { weight as weightText } from "./format.js";
import { icon } from "./icons.js";
import { find } from "./pictures.js";
import * as state from "./state.js";

const WEIGHTS = [1, 2, 3, 0.5];

/** Adds a term to the query. */
export function add(term, patch = {}) {
  const { terms } = state.get();
  const same = (other) => other.kind === term.kind && other.value === term.value;
  state.set({ terms: [...terms.filter((other) => !same(other)), term], view: "", item: "", ...patch });
}

/** Shows an empty chip to type in. */
export function begin(sign) {
  const chip = chipOf({ kind: "text", value: "", weight: sign }, state.get().terms.length);
  byId("chips").append(chip);
  chip.querySelector("input").focus();
}

/** Draws the chips; the one that is typed in stays as it is. */
export function draw({ terms }) {
  const list = byId("chips");
  const typing = list.contains(document.activeElement) && document.activeElement.matches("input");
  if (typing && sameBut(list, terms)) return;
  list.replaceChildren(...terms.map(chipOf));
}

/** Whether the chips on show are the terms already. */
function sameBut(list, terms) {
  const shown = [...list.children].map((chip) => chip.dataset.term).filter((term) => term !== "");
  return JSON.stringify(shown) === JSON.stringify(terms.map(nameOf));
}

const nameOf = ({ kind, value, weight }) => (value === "" ? "" : `${weight} ${kind} ${value}`);

function chipOf(term, at) {
  const minus = term.weight < 0;
  const chip = h("li", { class: minus ? "chip minus" : "chip", "data-term": nameOf(term) });
  const called = term.kind === "text" ? `\u201c${term.value || "new term"}\u201d` : { id: `picture ${term.value}`, picture: "your picture", uri: term.value }[term.kind];
  const change = (patch, options) => state.set({ terms: state.get().terms.map((old, i) => (i === at ? { ...old, ...patch } : old)) }, options);
  const remove = () => {
    state.set({ terms: state.get().terms.filter((_, i) => i !== at) });
    chip.remove();
    byId("query").focus();
  };
  const nextWeight = () => {
    const size = WEIGHTS[(WEIGHTS.indexOf(Math.abs(term.weight)) + 1) % WEIGHTS.length];
    change({ weight: Math.sign(term.weight) * size });
  };
  chip.append(
    h("button", { type: "button", class: "chip-sign", "aria-label": minus ? `Without ${called}; press for with` : `With ${called}; press for without`, onclick: () => change({ weight: -term.weight }) }, icon(minus ? "minus" : "plus")),
    body(term, at, chip, remove),
    h("button", { type: "button", class: "chip-weight", "aria-label": `Weight ${Math.abs(term.weight)} of ${called}; press to change`, title: "Weight", onclick: nextWeight }, `\u00d7${weightText(term.weight)}`),
    h("button", { type: "button", class: "chip-remove", "aria-label": `Remove ${called}`, onclick: remove }, icon("close")),
  );
  return chip;
}

function body(term, at, chip, remove) {
  if (term.kind === "text") return textInput(term, at, chip, remove);
  if (term.kind === "uri") return h("span", { class: "chip-text clip" }, term.value);
  const { c } = state.get();
  const source = term.kind === "id" ? thumbnailOf(c, term.value) : find(term.value);
  if (!source) return h("span", { class: "chip-text" }, "a picture of another tab");
  const image = h("img", { class: "chip-image", src: source, alt: term.kind === "id" ? `picture ${term.value}` : "your picture" });
  return term.kind === "id" ? h("a", { href: imageOf(c, term.value), target: "_blank", rel: "noopener", tabindex: "-1" }, image) : image;
}

function textInput(term, at, chip, remove) {
  const sign = term.weight < 0 ? "away from" : "with";
  const input = h("input", { type: "text", class: "chip-text", value: term.value, placeholder: term.weight < 0 ? "away from\u2026" : "also\u2026", "aria-label": `${sign}: words`, maxlength: 500, spellcheck: "false", autocapitalize: "off", autocomplete: "off", enterkeyhint: "search" });
  const fit = () => input.style.setProperty("--letters", String(Math.max(input.value.length, input.value ? 2 : 9)));
  let dirty = false;
  const keep = debounced(() => {
    if (!dirty) return;
    dirty = false;
    const value = input.value.trim();
    const terms = [...state.get().terms];
    if (value !== "") terms[at] = { ...(terms[at] ?? term), value };
    else terms.splice(at, 1);
    chip.dataset.term = value === "" ? "" : nameOf(terms[at]);
    state.set({ terms, view: "" }, { replace: true });
  }, 180);
  input.addEventListener("input", () => {
    fit();
    dirty = true;
    keep();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === "Escape") {
      event.preventDefault();
      keep.now();
      byId("query").focus();
    } else if (event.key === "Backspace" && input.value === "") {
      event.preventDefault();
      dirty = false;
      remove();
    }
  });
  input.addEventListener("blur", () => {
    keep.now();
    if (input.value.trim() === "") chip.remove();
  });
  fit();
  return input;
}
