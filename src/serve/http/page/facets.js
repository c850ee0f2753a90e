// What hangs from a filter chip: boxes to tick, or the ends of a range.

import { debounced, h } from "./dom.js";
import { count, label } from "./format.js";
import * as state from "./state.js";

/** So few whole numbers are ticked one by one. */
const FEW = 8;

/** Fills a panel for a field, by its type; gives the panel. */
export function facetPanel(panel, field) {
  const listed = ["keyword", "bool"].includes(field.type) || (field.type === "integer" && field.values?.length <= FEW && covers(field));
  return listed ? ticks(panel, field) : range(panel, field);
}

/** What is chosen of a field, in a few words. */
export function summary({ is, within }, name) {
  if (is.has(name)) return is.get(name).join(", ");
  const [low, high] = within.get(name);
  if (low !== null && high !== null) return `${low} to ${high}`;
  return low !== null ? `from ${low}` : `up to ${high}`;
}

/** Whether the values listed are all there are. */
const covers = ({ values, min, max }) => values.some(({ value }) => Number(value) === min) && values.some(({ value }) => Number(value) === max);

function ticks(panel, { name, type, values }) {
  const sorted = type === "integer" ? [...values].sort((a, b) => a.value - b.value) : values;
  const list = h("ul", { class: "ticks", "aria-label": label(name) });
  const chosen = () => state.get().is.get(name) ?? [];
  const most = Math.max(...values.map((value) => value.count));
  const line = ({ value, count: n }) => {
    const text = String(value);
    const box = h("input", { type: "checkbox", checked: chosen().includes(text) });
    box.addEventListener("change", () => choose(name, box.checked ? [...chosen(), text] : chosen().filter((one) => one !== text)));
    const bar = h("span", { class: "tick-bar" });
    bar.style.setProperty("--part", String(n / most));
    return h("li", {}, h("label", { class: "check" }, box, h("span", { class: "clip" }, text), h("small", {}, n === undefined ? "" : count(n)), bar));
  };
  list.append(...sorted.map(line));
  // Values chosen by the address or by a picture's facts may lie beyond the listed ones.
  for (const text of chosen()) if (!sorted.some(({ value }) => String(value) === text)) list.append(line({ value: text }));
  const other = type === "keyword" && values.length >= 20 ? otherValue(name, list, line) : null;
  panel.append(list, ...(other ? [other] : []));
  return panel;
}

/** A box for a value that is too rare to be listed. */
function otherValue(name, list, line) {
  const input = h("input", { type: "text", placeholder: "another value", "aria-label": `Another value of ${label(name)}`, autocomplete: "off", maxlength: 200 });
  return h("form", {
    class: "inline",
    onsubmit: (event) => {
      event.preventDefault();
      const value = input.value.trim();
      if (value === "") return;
      choose(name, [...new Set([...(state.get().is.get(name) ?? []), value])]);
      list.append(line({ value }));
      input.value = "";
    },
  }, input, h("button", { type: "submit" }, "Add"));
}

function choose(name, values) {
  const is = new Map(state.get().is);
  if (values.length) is.set(name, values);
  else is.delete(name);
  state.set({ is });
}

function range(panel, { name, type, min, max }) {
  const date = type === "datetime";
  const [low, high] = state.get().within.get(name) ?? [null, null];
  const day = (value) => String(value).slice(0, 10);
  const end = (text, value, limit) =>
    h("label", { class: "stack" }, h("span", {}, text), h("input", date
      ? { type: "date", value: value ?? "", min: day(min), max: day(max) }
      : { type: "number", step: type === "integer" ? "1" : "any", inputmode: "decimal", value: value ?? "", placeholder: limit }));
  const from = end("from", low, min);
  const to = end("to", high, max);
  const change = debounced(() => {
    const [a, b] = [from, to].map((side) => side.querySelector("input").value || null);
    const within = new Map(state.get().within);
    if (a === null && b === null) within.delete(name);
    else within.set(name, [a, b]);
    state.set({ within }, { replace: true });
  }, 250);
  panel.addEventListener("input", change);
  panel.append(h("fieldset", { class: "range" }, h("legend", {}, label(name)), from, h("span", { "aria-hidden": "true" }, "\u2013"), to));
  return panel;
}
