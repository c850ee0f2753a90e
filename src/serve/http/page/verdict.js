// Says plainly when nothing fits. The nearest pictures are always some pictures, and a bare list would pass them off as finds.
//
// A matcher's probability tells by itself. A cosine does not: what counts as high differs from model to model. So a few of
// the collection's own captions are searched once, and what they reach with the pictures that they describe is the measure.

import { get as fetchJson, post, within as pathOf } from "./api.js";
import { byId, h } from "./dom.js";
import * as filters from "./filters.js";
import { percent, score as scoreText } from "./format.js";
import { icon } from "./icons.js";
import * as state from "./state.js";

const MATCH = 0.5;
/** A message longer than this is folded. */
const LONG = 160;
/** How many captions are tried. */
const TRIED = 16;
/** The part of them that may score lower than the measure. */
const LOW = 0.1;
/**
 * How far below the measure a hit may lie and still pass: captions describe a whole picture, people look for a part. On the shipped
 * scenes this doubts 89 % of the single objects that none of them shows, 17 % of those that one does, and under 1 % of
 * whole descriptions.
 */
const GRACE = 0.87;

const measures = new Map();

/** Takes the verdict away. */
export function clear() {
  byId("verdict").hidden = true;
  byId("grid").classList.remove("doubtful");
}

/** Says something above the pictures: a text, or what was made of one. */
export function say(title, text, ...actions) {
  const said = typeof text === "string" ? h("p", {}, text) : text;
  byId("verdict").replaceChildren(icon("search"), h("div", {}, h("strong", {}, title), said), h("span", { class: "verdict-actions" }, ...actions));
  byId("verdict").hidden = false;
}

/** A message that is long: what is wrong, and behind a fold what would do. */
export function folded(message) {
  const at = message.indexOf(": ", message.startsWith("filter: ") ? "filter: ".length : 0);
  if (message.length <= LONG || at < 0) return message;
  return h("div", {}, h("p", {}, `${message.slice(0, at)}.`), h("details", {}, h("summary", {}, "What would do"), h("p", {}, message.slice(at + 2))));
}

/** Judges the hits of a query, best first. */
export async function judge(now, terms, hits, signal) {
  if (hits.length === 0) return sayNone(now);
  const matches = hits.map(({ match }) => match).filter((match) => typeof match === "number");
  if (matches.length) {
    const best = Math.max(...matches);
    if (best < MATCH) sayDoubt(`Looked at closely, the likeliest picture fits with ${percent(best)}.`);
    return;
  }
  // A question's words are no caption's: its answer says whether anything fits.
  if (now.ask !== "") return;
  // Sums of terms and pictures reach other scores than words alone: no measure is at hand for them.
  if (terms.length !== 1 || terms[0].kind !== "text" || now.side === "caption") return;
  const measure = await measureOf(now.c);
  signal.throwIfAborted();
  const best = Math.max(...hits.map(({ score }) => score));
  if (measure === null || best >= measure * GRACE) return;
  sayDoubt(`Words that fit a picture here usually score ${scoreText(measure)} or more; the best of these has ${scoreText(best)}.`);
}

function sayDoubt(why) {
  byId("grid").classList.add("doubtful");
  say("No good match.", `${why} These come nearest.`);
}

function sayNone(now) {
  const actions = [];
  if (filters.isFiltered(now)) actions.push(h("button", { type: "button", onclick: filters.clear }, "Clear filters"));
  if (now.min !== null) actions.push(h("button", { type: "button", onclick: () => state.set({ min: null }) }, "Any score"));
  say("No picture fits.", actions.length ? "None passes what is asked beside the words." : "The collection has nothing to compare with.", ...actions);
}

/** The score that most captions of the collection reach with their own picture; null where there are too few to tell. */
function measureOf(c) {
  if (!measures.has(c)) measures.set(c, measureNow(c).catch(() => null));
  return measures.get(c);
}

/** Forgets a collection's measure: its pictures have changed. */
export const forget = (c) => measures.delete(c);

async function measureNow(c) {
  const list = (offset) => fetchJson(pathOf(c, `/items?limit=100&offset=${offset}`));
  const start = await list(0);
  // From the middle, so that a folder read first does not stand for all.
  const { items } = start.total > 200 ? await list(Math.floor(start.total / 2)) : start;
  const step = Math.max(1, Math.floor(items.length / TRIED));
  const tried = items.filter((item, at) => at % step === 0 && item.captions?.length).slice(0, TRIED);
  if (tried.length < 6) return null;
  const best = await Promise.all(tried.map(async ({ captions }) => {
    const text = captions.reduce((a, b) => (b.length < a.length ? b : a));
    const { hits } = await post(pathOf(c, "/search"), { terms: [{ text }], limit: 1 });
    return hits[0]?.score ?? 0;
  }));
  return best.sort((a, b) => a - b)[Math.floor(best.length * LOW)];
}
