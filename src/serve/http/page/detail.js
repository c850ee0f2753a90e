// One picture, large: what is said of it, what the camera wrote, what came with it, and what looks like it.

import { get as fetchJson, imageOf, post, remove, thumbnailOf, within as pathOf } from "./api.js";
import * as chips from "./chips.js";
import { byId, h, isTyping } from "./dom.js";
import * as duplicates from "./duplicates.js";
import { factsOf } from "./facts.js";
import { percent, score as scoreText, title } from "./format.js";
import * as grid from "./grid.js";
import * as results from "./results.js";
import * as state from "./state.js";
import { complain, toast } from "./toast.js";

/** How many that look like it. */
const SIMILAR = 12;

let loading = new AbortController();

/** Makes the dialog work, and follows the state. */
export function start() {
  const dialog = byId("detail");
  byId("detail-close").addEventListener("click", () => dialog.close());
  byId("detail-previous").addEventListener("click", () => turn(-1));
  byId("detail-next").addEventListener("click", () => turn(1));
  byId("detail-like").addEventListener("click", () => moreLike(state.get().item));
  byId("detail-plus").addEventListener("click", () => join(1));
  byId("detail-minus").addEventListener("click", () => join(-0.5));
  byId("detail-remove").addEventListener("click", take);
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  // The state is what says whether the dialog is open; Esc and the button come here first.
  dialog.addEventListener("close", () => state.get().item && state.closeItem());
  dialog.addEventListener("keydown", (event) => {
    if (isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") turn(-1);
    else if (event.key === "ArrowRight") turn(1);
    else if (event.key === "m") moreLike(state.get().item);
    else return;
    event.preventDefault();
  });
  state.subscribe((now, before) => (now.item !== before.item || now.c !== before.c) && follow(now, before));
  follow(state.get(), { item: "" });
}

/** Searches for what looks like the item. */
export const moreLike = (id) => id && state.set({ ...state.cleared(), terms: [{ kind: "id", value: String(id), weight: 1 }] });

/** Opens an item. */
export const open = (id) => state.set({ item: String(id) });

function follow(now, before) {
  const dialog = byId("detail");
  loading.abort();
  if (!now.item) {
    if (dialog.open) dialog.close();
    if (before.item && !dialog.open) grid.focus(Number(before.item));
    return;
  }
  if (!dialog.open) dialog.showModal();
  loading = new AbortController();
  load(now, loading.signal).catch((error) => {
    if (error.name === "AbortError") return;
    complain(error);
    dialog.close();
  });
}

async function load(now, signal) {
  const { c, item: id } = now;
  const image = byId("detail-image");
  const hit = list().find((item) => String(item.id) === id);
  // The small copy is there at once, and makes way for the picture itself.
  image.src = thumbnailOf(c, id, 640);
  image.alt = hit ? title(hit) : "";
  byId("detail-title").textContent = hit ? title(hit) : "";
  byId("detail-scores").replaceChildren(...scores(hit));
  byId("detail-open").href = imageOf(c, id);
  byId("detail-similar").hidden = true;
  turnable(id);
  const item = await fetchJson(pathOf(c, `/items/${id}`), { signal });
  byId("detail-title").textContent = title(item);
  image.alt = title(item);
  byId("detail-facts").replaceChildren(...factsOf(item));
  sharpen(image, imageOf(c, id), signal);
  await similar(c, id, signal);
}

/** Shows the picture itself, once it is there; formats that the browser cannot show leave the copy. */
function sharpen(image, address, signal) {
  const full = new Image();
  full.onload = () => !signal.aborted && (image.src = address);
  full.src = address;
}

function scores(hit) {
  const made = [];
  if (typeof hit?.match === "number") made.push(h("span", { class: "pill" }, `${percent(hit.match)} match`));
  if (typeof hit?.score === "number") made.push(h("span", { class: "pill quiet" }, `score ${scoreText(hit.score)}`));
  if (typeof hit?.rank === "number") made.push(h("span", { class: "pill quiet" }, `no. ${hit.rank}`));
  return made;
}

async function similar(c, id, signal) {
  const { hits } = await post(pathOf(c, "/search"), { terms: [{ id: Number(id) }], limit: SIMILAR + 1, with_captions: true }, { signal });
  const others = hits.filter((hit) => String(hit.id) !== id).slice(0, SIMILAR);
  byId("detail-similar").hidden = others.length === 0;
  byId("detail-similar-list").replaceChildren(...others.map((hit) =>
    h("li", {}, h("a", {
      href: state.href(state.get(), { item: String(hit.id) }),
      "aria-label": title(hit),
      onclick: (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        open(hit.id);
      },
    }, h("img", { src: thumbnailOf(c, hit.id, 160), alt: "", loading: "lazy" })))));
}

const list = () => (state.get().view === "duplicates" ? duplicates.items() : results.items());

function turnable(id) {
  const at = list().findIndex((item) => String(item.id) === id);
  byId("detail-previous").disabled = at <= 0;
  byId("detail-next").disabled = at < 0 || at === list().length - 1;
  // The next page is fetched before its first picture is asked for.
  if (at >= list().length - 6) results.more().then((came) => came && turnable(state.get().item));
}

function turn(way) {
  const all = list();
  const at = all.findIndex((item) => String(item.id) === state.get().item);
  const to = at < 0 ? undefined : all[at + way];
  if (to) state.set({ item: String(to.id) }, { replace: true });
}

function join(weight) {
  const { item } = state.get();
  chips.add({ kind: "id", value: item, weight });
}

async function take() {
  const { c, item } = state.get();
  const name = byId("detail-title").textContent;
  if (!confirm(`Remove \u201c${name}\u201d from the collection \u201c${c}\u201d? The file itself stays.`)) return;
  try {
    await remove(pathOf(c, `/items/${item}`));
    state.set({ item: "" });
    toast("Removed from the collection.");
    results.refresh();
  } catch (error) {
    complain(error);
  }
}
