// Pictures dragged over the page: two places to let them go, so that looking is never mistaken for keeping.

import * as add from "./add.js";
import { byId } from "./dom.js";
import { byPicture } from "./search.js";
import * as state from "./state.js";
import { toast } from "./toast.js";

/** Makes dropping work. */
export function start() {
  const drop = byId("drop");
  const zones = { search: byId("drop-search"), add: byId("drop-add") };
  let depth = 0;
  // A picture of the page itself is no file that someone brings.
  let own = false;
  const hasFiles = ({ dataTransfer }) => !own && dataTransfer?.types.includes("Files");
  window.addEventListener("dragstart", () => (own = true));
  window.addEventListener("dragend", () => (own = false));

  const hide = () => {
    depth = 0;
    drop.hidden = true;
  };
  window.addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth += 1;
    // The dialog that adds has its own place.
    if (byId("add-dialog").open || document.querySelector("dialog[open]:not(#detail)")) return;
    if (byId("detail").open) byId("detail").close();
    byId("drop-collection").textContent = state.get().c;
    zones.search.classList.toggle("off", [...event.dataTransfer.items].filter(({ kind }) => kind === "file").length > 1);
    drop.hidden = false;
  });
  window.addEventListener("dragleave", (event) => {
    if (!hasFiles(event)) return;
    depth -= 1;
    if (depth <= 0) hide();
  });
  window.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    for (const zone of Object.values(zones)) zone.classList.toggle("over", zone === event.target.closest?.(".drop-zone"));
  });
  window.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    hide();
    const files = [...event.dataTransfer.files].filter(({ type }) => type === "" || type.startsWith("image/"));
    if (files.length === 0) return toast("No picture is among these files.", { error: true });
    const adds = event.target.closest("#drop-add, #add-dialog");
    if (adds) add.dropped(files);
    else if (event.target.closest("#drop-search")) single(files);
  });
}

function single(files) {
  if (files.length > 1) return toast("One picture at a time to search by; add several with the other half.", { error: true });
  return byPicture(files[0]);
}
