// The justified grid: every row fills the width, every picture keeps its shape. The style sheet does the fitting, given each
// picture's shape; here are the tiles, and moving among them by keys.

import { thumbnailOf } from "./api.js";
import { byId, h } from "./dom.js";
import { percent, score as scoreText, title } from "./format.js";
import { icon } from "./icons.js";
import * as state from "./state.js";

const tiles = new Map();

/** Shows items, and lines across the grid for texts among them: after what is there, or, `fresh`, instead of it. */
export function draw(entries, { fresh, scores }) {
  const made = entries.map((entry) => (typeof entry === "string" ? h("li", { class: "divider" }, entry) : tileOf(entry, scores)));
  const grid = byId("grid");
  if (!fresh) return grid.append(...made);
  // A picture that stays is not loaded again.
  grid.replaceChildren(...made);
  const kept = new Set(made);
  for (const [id, tile] of tiles) if (!kept.has(tile)) tiles.delete(id);
  rove(grid.querySelector("a"));
}

/** Shows shapes where pictures will be. */
export function wait() {
  const shapes = [1, 1.4, 0.8, 1.2, 1, 1.6, 0.9, 1.1, 1.3, 0.75, 1, 1.5];
  byId("grid").replaceChildren(...shapes.map((shape) => {
    const tile = h("li", { class: "tile waiting", "aria-hidden": "true" });
    tile.style.setProperty("--shape", String(shape));
    return tile;
  }));
}

/** Puts the focus on the first picture, or on the one with the id. */
export function focus(id) {
  const link = (id !== undefined && tiles.get(id)?.querySelector("a")) || byId("grid").querySelector('a[tabindex="0"]');
  link?.focus();
  link?.scrollIntoView({ block: "nearest" });
}

/** Makes the grid work. `open(id)` shows a picture, `like(id, weight)` adds it to the query, `more(id)` looks for its like. */
export function start({ open, like, more }) {
  const grid = byId("grid");
  grid.addEventListener("click", (event) => {
    const tile = event.target.closest(".tile");
    if (!tile || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    const tool = event.target.closest("[data-weight]");
    if (tool) like(tile.dataset.id, Number(tool.dataset.weight));
    else open(tile.dataset.id);
  });
  grid.addEventListener("focusin", ({ target }) => target.matches("a") && rove(target));
  grid.addEventListener("keydown", (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "m") return more(link.parentElement.dataset.id);
    if (event.key === "Escape") return byId("query").focus();
    const to = neighbour(link, event.key);
    if (!to) return;
    event.preventDefault();
    to.focus();
    to.scrollIntoView({ block: "nearest" });
  });
}

/** One tile of the grid is in the Tab order: the one last in focus. */
function rove(link) {
  for (const old of byId("grid").querySelectorAll('a[tabindex="0"]')) old.tabIndex = -1;
  if (link) link.tabIndex = 0;
}

function neighbour(link, key) {
  const links = [...byId("grid").querySelectorAll(".tile > a")];
  const at = links.indexOf(link);
  switch (key) {
    case "ArrowRight": return links[at + 1];
    case "ArrowLeft": return links[at - 1];
    case "Home": return links[0];
    case "End": return links.at(-1);
    case "ArrowDown": return across(link, links.slice(at + 1), 1);
    case "ArrowUp": return across(link, links.slice(0, at).reverse(), -1) ?? byId("query");
    default: return undefined;
  }
}

/** The tile nearest to the middle of `link`, in the next row that way. */
function across(link, others, way) {
  const from = link.getBoundingClientRect();
  const middle = from.left + from.width / 2;
  let best;
  let row;
  for (const other of others) {
    const box = other.getBoundingClientRect();
    if ((box.top - from.top) * way < from.height / 2) continue;
    row ??= box.top;
    if (Math.abs(box.top - row) > 2) break;
    const away = Math.abs(box.left + box.width / 2 - middle);
    if (!best || away < best.away) best = { other, away };
  }
  return best?.other;
}

function tileOf(item, scores) {
  const { c } = state.get();
  const known = tiles.get(item.id);
  const tile = known?.dataset.c === c ? known : newTile(item, c);
  tiles.set(item.id, tile);
  const link = tile.querySelector("a");
  link.href = state.href(state.get(), { item: String(item.id) });
  const badge = tile.querySelector(".badge");
  badge.textContent = scores ? badgeText(item) : "";
  badge.hidden = !scores;
  link.setAttribute("aria-label", scores ? `${title(item)}, ${spoken(item)}` : title(item));
  return tile;
}

const badgeText = ({ match, score }) => (typeof match === "number" ? percent(match) : scoreText(score));
const spoken = ({ match, score }) => (typeof match === "number" ? `${percent(match)} match` : `score ${scoreText(score)}`);

function newTile(item, c) {
  const tile = h("li", { class: "tile", "data-id": item.id, "data-c": c });
  const { width, height } = item;
  const shape = width > 0 && height > 0 ? width / height : 1;
  tile.style.setProperty("--shape", String(Math.min(3.2, Math.max(0.5, shape)).toFixed(4)));
  const image = h("img", {
    src: thumbnailOf(c, item.id),
    srcset: `${thumbnailOf(c, item.id)} 1x, ${thumbnailOf(c, item.id, 640)} 2x`,
    alt: "", loading: "lazy", decoding: "async", draggable: "false",
  });
  image.addEventListener("load", () => tile.classList.add("loaded"));
  image.addEventListener("error", () => tile.classList.add("broken"));
  tile.append(
    h("a", { tabindex: "-1" }, image, h("span", { class: "caption", "aria-hidden": "true" }, title(item)), h("span", { class: "badge", "aria-hidden": "true" })),
    h("span", { class: "tile-tools" },
      h("button", { type: "button", tabindex: "-1", "data-weight": "1", "aria-label": `More like ${title(item)}`, title: "More like this" }, icon("plus")),
      h("button", { type: "button", tabindex: "-1", "data-weight": "-0.5", "aria-label": `Less like ${title(item)}`, title: "Less like this" }, icon("minus"))),
  );
  return tile;
}
