// Adding pictures: a folder of the server's machine, indexed while progress streams in, or files of this one, uploaded.

import { post, stream, within as pathOf } from "./api.js";
import { byId } from "./dom.js";
import * as filters from "./filters.js";
import { count, many } from "./format.js";
import * as progress from "./progress.js";
import * as results from "./results.js";
import * as state from "./state.js";
import { toast } from "./toast.js";
import { forget } from "./verdict.js";

/** Files that travel together, and their bytes at most: small enough for progress to move, large enough to be quick. */
const TOGETHER = 16;
const BYTES = 16e6;

/** Makes the dialog work. */
export function start() {
  const dialog = byId("add-dialog");
  byId("add-button").addEventListener("click", () => {
    byId("add-title").textContent = `Add pictures to ${state.get().c}`;
    dialog.showModal();
    byId("index-source").focus();
  });
  const done = async (c) => {
    forget(c);
    await filters.reload();
    if (state.get().c === c) results.refresh();
  };
  byId("index-form").addEventListener("submit", (event) => {
    event.preventDefault();
    index(state.get().c, byId("index-source").value.trim(), byId("index-prune").checked, done);
  });
  byId("upload-files").addEventListener("change", ({ target }) => {
    upload([...target.files], done);
    target.value = "";
  });
  adding = done;
}

let adding = () => {};

/** Uploads files that were dropped, with the dialog open to show how it goes. */
export function dropped(files) {
  const dialog = byId("add-dialog");
  byId("add-title").textContent = `Add pictures to ${state.get().c}`;
  if (!dialog.open) dialog.showModal();
  upload(files, adding);
}

async function index(c, source, prune, done) {
  const box = byId("index-progress");
  const stop = byId("index-stop");
  const running = new AbortController();
  const bar = progress.begin(box, `Indexing ${source}`);
  byId("index-start").hidden = true;
  stop.hidden = false;
  stop.onclick = () => running.abort();
  let last = {};
  try {
    await stream(pathOf(c, "/index"), { sources: [source], prune }, (event) => bar.show((last = merge(last, event))), { signal: running.signal });
    bar.end(summary(last));
  } catch (error) {
    const stopped = error.name === "AbortError";
    bar.end(stopped ? `Stopped. What was indexed stays${last.indexed ? `: ${many(last.indexed, "picture")}` : ""}.` : error.message, !stopped);
  } finally {
    byId("index-start").hidden = false;
    stop.hidden = true;
  }
  if (last.indexed || last.removed) await done(c);
}

/** Progress so far and one more event of it: what was refused adds up. */
function merge(last, event) {
  const refused = [...(last.refused ?? []), ...(event.seconds === undefined ? (event.refused ?? []) : [])];
  // The last line has all that were refused.
  const all = event.seconds !== undefined && Array.isArray(event.refused) && event.refused.length >= refused.length ? event.refused : refused;
  return { ...last, ...event, refused: all };
}

function summary({ indexed = 0, unchanged = 0, removed = 0, duplicates = 0, refused = [], seconds }) {
  const parts = [`${many(indexed, "picture")} indexed`];
  if (duplicates) parts.push(`${count(duplicates)} of them known bytes`);
  if (unchanged) parts.push(`${count(unchanged)} unchanged`);
  if (removed) parts.push(`${count(removed)} forgotten`);
  if (refused.length) parts.push(`${count(refused.length)} refused`);
  return `${parts.join(", ")}${seconds === undefined ? "" : ` in ${seconds.toFixed(1)} s`}.`;
}

async function upload(files, done) {
  if (files.length === 0) return;
  const { c } = state.get();
  const bar = progress.begin(byId("upload-progress"), `Uploading ${many(files.length, "file")}`);
  const refused = [];
  let indexed = 0;
  let sent = 0;
  for (const group of groups(files)) {
    const form = new FormData();
    for (const file of group) form.append("file", file, file.name);
    try {
      const { outcomes } = await post(pathOf(c, "/items"), form);
      for (const { key, error } of outcomes) {
        if (error) refused.push({ key, reason: error.message ?? error });
        else indexed += 1;
      }
    } catch (error) {
      for (const file of group) refused.push({ key: file.name, reason: error.message });
    }
    sent += group.length;
    bar.show({ listed: files.length, listing_complete: true, indexed, refused, done: sent });
  }
  const text = `${many(indexed, "picture")} added${refused.length ? `, ${count(refused.length)} refused` : ""}.`;
  bar.end(text, indexed === 0);
  if (indexed) {
    toast(text);
    await done(c);
  }
}

function* groups(files) {
  let group = [];
  let bytes = 0;
  for (const file of files) {
    if (group.length && (group.length === TOGETHER || bytes + file.size > BYTES)) {
      yield group;
      group = [];
      bytes = 0;
    }
    group.push(file);
    bytes += file.size;
  }
  if (group.length) yield group;
}
