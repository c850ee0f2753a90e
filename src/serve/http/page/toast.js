// Short messages at the foot of the page.

import { byId, h } from "./dom.js";

/** Says something for a few seconds; errors stay longer. */
export function toast(text, { error = false } = {}) {
  const box = byId("toasts");
  const line = h("p", { class: error ? "toast wrong" : "toast" }, text);
  box.append(line);
  raise(box);
  setTimeout(() => line.remove(), error ? 9000 : 4000);
}

/** Says what went wrong; a request that was given up is nothing wrong. */
export function complain(error) {
  if (error.name === "AbortError") return;
  if (!error.status && error.code !== "unreachable") console.error(error);
  toast(error.message, { error: true });
}

/** Above whatever dialog is open. */
function raise(box) {
  box.setAttribute("popover", "manual");
  if (box.matches(":popover-open")) box.hidePopover();
  box.showPopover();
}
