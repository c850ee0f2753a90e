// From the state to the pictures on show: browse, search, or groups of near-duplicates; a page at a time.

import { get as fetchJson, post, within as pathOf } from "./api.js";
import { byId, h } from "./dom.js";
import * as duplicates from "./duplicates.js";
import * as filters from "./filters.js";
import { count, many } from "./format.js";
import * as grid from "./grid.js";
import * as hero from "./hero.js";
import { base64 } from "./pictures.js";
import { isQuery, termsOf } from "./search.js";
import * as state from "./state.js";
import { looksFor } from "./terms.js";
import { complain } from "./toast.js";
import * as verdict from "./verdict.js";

const PAGE = 48;
/** Looking closer is slow work: fewer at a time. */
const PAGE_CLOSER = 24;
/** So many collections are named where one is not there. */
const NAMED = 5;
/** A match at least this probable counts as one. */
const MATCH = 0.5;

/** What is on show, in order; `more` fetches the next page. */
const NOTHING = { items: [], more: null, divided: false };
let shown = NOTHING;
let running = new AbortController();

/** Follows the state, and fetches on as the foot of the page comes near. */
export function start() {
  state.subscribe((now, before) => !state.sameResults(now, before) && refresh());
  new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && more(), { rootMargin: "800px" }).observe(byId("more"));
  byId("more-button").addEventListener("click", () => more());
}

/** The items on show. */
export const items = () => shown.items;

/** Fetches and shows what the state asks for. */
export async function refresh() {
  running.abort();
  const mine = (running = new AbortController());
  const now = state.get();
  const results = byId("results");
  results.setAttribute("aria-busy", "true");
  byId("grid").hidden = now.view === "duplicates";
  byId("groups").hidden = now.view !== "duplicates";
  verdict.clear();
  if (now.view !== "" || isQuery(now)) hero.hide();
  if (shown.items.length === 0 && now.view === "") grid.wait();
  let terms = [];
  try {
    if (now.view === "duplicates") {
      shown = NOTHING;
      await duplicates.show(now, mine.signal);
    }
    if (now.view === "") terms = await first(now, mine.signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    fail(error);
  }
  results.removeAttribute("aria-busy");
  follow();
  // The verdict may take a moment longer than the pictures.
  if (terms.length) verdict.judge(now, terms, shown.items, mine.signal).catch(complain);
}

/** Fetches and shows the next page, if there is one and none is on its way. */
export async function more() {
  const load = shown.more;
  if (!load) return false;
  shown.more = null;
  try {
    await load();
    follow();
    return true;
  } catch (error) {
    if (error.name !== "AbortError") {
      shown.more = load;
      byId("more-button").hidden = false;
      complain(error);
    }
    return false;
  }
}

/** Shows the first page; gives the terms that it was found by. */
async function first(now, signal) {
  const terms = termsOf(now);
  if (terms.length && !looksFor(terms)) {
    nothingToLookFor();
    return [];
  }
  const query = terms.length ? await searchOf(now, terms, signal) : await browseOf(now, signal);
  const page = await query(0);
  signal.throwIfAborted();
  shown = NOTHING;
  place(query, page, true);
  byId("status").textContent = page.items.length ? page.status : "";
  byId("results-title").textContent = terms.length ? "Pictures found" : "All pictures";
  if (terms.length === 0) hero.show(now, page);
  return terms;
}

/** Puts a page's items on show, and remembers where the next begins. */
function place(query, { items, end, scores }, fresh) {
  const unlikely = shown.divided ? -1 : items.findIndex(({ match }) => typeof match === "number" && match < MATCH);
  const divided = unlikely > 0 || (unlikely === 0 && !fresh);
  const entries = divided ? items.toSpliced(unlikely, 0, "Less likely") : items;
  grid.draw(entries, { fresh, scores });
  const all = fresh ? items : [...shown.items, ...items];
  const next = async () => place(query, await query(all.length), false);
  shown = { items: all, more: end ? null : next, divided: shown.divided || divided };
}

async function searchOf(now, terms, signal) {
  const known = terms.filter(({ kind, value }) => kind !== "picture" || base64(value));
  if (known.length < terms.length) complain(new Error("A picture of this query is in another tab or another browser: drop it here again."));
  if (!looksFor(known)) return async () => ({ items: [], status: "", end: true, scores: true });
  const filter = await filters.condition(now);
  // Only words can be held against a picture once more.
  const closer = now.rerank && known.some(({ kind, weight }) => kind === "text" && weight > 0);
  const limit = closer ? PAGE_CLOSER : PAGE;
  const body = { terms: known.map(wire), limit, filter, with_captions: true };
  if (closer) body.rerank = true;
  if (now.side !== "image") body.side = now.side;
  if (now.min !== null) body.score_threshold = now.min;
  return async (offset) => {
    const { hits, took_ms: took } = await post(pathOf(now.c, "/search"), { ...body, offset }, { signal });
    return { items: hits, end: hits.length < limit, scores: true, status: `Best first, in ${took < 10 ? took.toFixed(1) : count(Math.round(took))} ms` };
  };
}

async function browseOf(now, signal) {
  const filter = await filters.condition(now);
  return async (offset) => {
    const asked = new URLSearchParams({ offset, limit: PAGE, ...(filter && { filter }) });
    const { items, total } = await fetchJson(pathOf(now.c, `/items?${asked}`), { signal });
    return { items, total, end: items.length === 0 || offset + items.length >= total, scores: false, status: filter ? `${many(total, "picture")} pass` : many(total, "picture") };
  };
}

/** A term as the API has it. */
function wire({ kind, value, weight }) {
  const what = { text: { text: value }, uri: { uri: value }, id: { id: Number(value) }, picture: { image: base64(value) } }[kind];
  return { ...what, weight };
}

function nothingToLookFor() {
  shown = NOTHING;
  grid.draw([], { fresh: true });
  byId("status").textContent = "";
  verdict.say("Say also what to look for.", "The query only takes away: add words or a picture to take it away from.");
}

function fail(error) {
  shown = NOTHING;
  grid.draw([], { fresh: true });
  byId("status").textContent = "";
  if (error.status === 404 && error.message.startsWith("no collection")) return void elsewhere(state.get());
  const known = error.status >= 400 && error.status < 500;
  const again = h("button", { type: "button", onclick: refresh }, "Try again");
  verdict.say(known ? "That cannot be searched." : "That did not work.", verdict.folded(error.message), again);
}

/** The collection is not there. Where the address names none, the first one that holds something is meant. */
async function elsewhere(now) {
  const { collections } = await fetchJson("collections").catch(() => ({ collections: [] }));
  if (state.get() !== now) return;
  const first = collections.find((one) => one.items > 0) ?? collections[0];
  if (!first) {
    const add = h("button", { type: "button", onclick: () => byId("add-button").click() }, "Add pictures");
    verdict.say("Nothing is here yet.", "Add pictures or a folder here, or run: eyeshot index FOLDER", add);
  } else if (now.c === "default") {
    state.set({ c: first.name }, { replace: true });
  } else {
    const home = h("a", { class: "button", href: "./" }, "To what there is");
    const links = collections.slice(0, NAMED).flatMap(({ name }) => [" ", h("a", { href: state.href({ ...now, ...state.cleared() }, { c: name }) }, name)]);
    const more = collections.length > NAMED ? ` and ${count(collections.length - NAMED)} more` : "";
    verdict.say(`There is no collection \u201c${now.c}\u201d.`, h("p", {}, "There are:", ...links, more), home);
  }
}

/** Where a page does not fill the window, the next follows at once. */
function follow() {
  byId("more-button").hidden = true;
  if (shown.more && byId("more").getBoundingClientRect().top < innerHeight + 800) more();
}
