// How to look: closer, at which side of a picture, and how alike it must be.

import { byId, h } from "./dom.js";
import { openUnder } from "./popover.js";
import * as state from "./state.js";

const SIDES = [
  ["image", "Pictures", "what they show"],
  ["caption", "Captions", "what is said of them"],
  ["both", "Both", "the two together"],
];

/** Makes the toggle and the panel work. */
export function start() {
  byId("closer").addEventListener("click", () => state.set({ rerank: !state.get().rerank }));
  byId("tune-button").addEventListener("click", ({ currentTarget }) => openUnder(currentTarget, "How to look", fill));
  state.subscribe(draw);
  draw(state.get());
}

function draw({ rerank, side, min }) {
  byId("closer").setAttribute("aria-pressed", String(rerank));
  byId("tune-button").classList.toggle("on", side !== "image" || min !== null);
}

function fill(panel) {
  const { side, min } = state.get();
  const sides = SIDES.map(([value, name, what]) =>
    h("label", { class: "check" },
      h("input", { type: "radio", name: "side", value, checked: side === value, onchange: () => state.set({ side: value }) }),
      h("span", {}, name, " ", h("small", {}, what))),
  );
  const shown = h("output", {}, min === null ? "any" : min.toFixed(2));
  const slider = h("input", { type: "range", id: "least-score", min: "0", max: "1", step: "0.01", value: String(min ?? 0) });
  slider.addEventListener("input", () => {
    const value = Number(slider.value);
    shown.textContent = value === 0 ? "any" : value.toFixed(2);
    state.set({ min: value === 0 ? null : value }, { replace: true });
  });
  panel.append(
    h("fieldset", {}, h("legend", {}, "Compare with"), sides),
    h("label", { for: "least-score", class: "spread" }, "Least score", shown),
    slider,
  );
}
