// Small panels that hang from a button: they close on Esc and on a click elsewhere, and hand the focus back.

import { byId, h } from "./dom.js";

/** The panel that closed last: a click on its button, which closed it, does not open it again. */
let last = { label: "", at: 0 };

/**
 * Opens a panel under `button` with what `fill(panel, close)` puts there; a second call closes it. `label` names it for
 * screen readers.
 */
export function openUnder(button, label, fill) {
  if (last.label === label && performance.now() - last.at < 250) return;
  const panel = h("div", { class: "popover", popover: "auto", role: "dialog", "aria-label": label });
  const close = () => {
    if (!panel.matches(":popover-open")) return;
    panel.hidePopover();
    // By choice, not by a click on its button: the next click shall open it.
    last = { label: "", at: 0 };
  };
  fill(panel, close);
  byId("popovers").append(panel);
  // At once, where `toggle` waits for the page to be idle.
  panel.addEventListener("beforetoggle", ({ newState }) => {
    if (newState === "closed") last = { label, at: performance.now() };
  });
  panel.addEventListener("toggle", ({ newState }) => {
    button.setAttribute("aria-expanded", String(newState === "open"));
    if (newState === "closed") panel.remove();
  });
  panel.showPopover({ source: button });
  place(panel, button);
  (panel.querySelector("[autofocus], input, button, a") ?? panel).focus({ preventScroll: true });
}

/** Under the button, within the window; narrow windows have it at their foot, by the style sheet. */
function place(panel, button) {
  const from = button.getBoundingClientRect();
  const edge = 12;
  const left = Math.max(edge, Math.min(from.left, innerWidth - panel.offsetWidth - edge));
  const below = innerHeight - from.bottom - edge;
  panel.style.setProperty("--left", `${left}px`);
  panel.style.setProperty("--top", `${from.bottom + 6}px`);
  panel.style.setProperty("--height", `${Math.max(below, 200)}px`);
}
