// Keys that work everywhere on the page.

import { byId, isTyping } from "./dom.js";
import * as grid from "./grid.js";

/** Listens. */
export function start() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target === byId("query")) return fromQuery(event);
    if (isTyping(event.target)) return;
    if (event.key === "/") {
      event.preventDefault();
      byId("query").focus();
      byId("query").select();
    } else if (event.key === "?") {
      byId("help-dialog").showModal();
    }
  });
  byId("help-button").addEventListener("click", () => byId("help-dialog").showModal());
  for (const button of document.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
  for (const dialog of document.querySelectorAll("dialog.sheet:not(#key-dialog)")) {
    dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  }
}

function fromQuery(event) {
  if (event.key === "ArrowDown") {
    event.preventDefault();
    grid.focus();
  } else if (event.key === "Escape" && event.target.value === "") {
    event.target.blur();
  }
}
