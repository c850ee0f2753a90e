// What the page shows, all of it in the address: a link shared is a view shared.
//
// c          the collection                    view=duplicates   near-duplicate groups instead of pictures
// q          what is typed in the search box   item              the picture that is open
// plus/minus further terms, `2:stripes`        ask               the question that is answered
// is.NAME    the field is one of these         rerank=1          look closer
// in.NAME    the field lies within `LO..HI`    side, min         which side of a picture is searched; the least score
// where      a condition, as `--filter` has it

import { parseOne, write as writeTerm } from "./terms.js";

const listeners = new Set();
let current = read(location.search);

/** The state as it is; not to be written to. */
export const get = () => current;

/** Calls `listener(state, before)` after each change. */
export const subscribe = (listener) => listeners.add(listener);

/** Changes some of the state. With `replace`, Back does not come here: while someone types. */
export function set(patch, { replace = false } = {}) {
  const before = current;
  current = { ...current, ...patch };
  const address = href(current);
  if (address === href(before)) return;
  // An entry that opened a picture is marked: closing it is going back.
  const opened = replace ? history.state?.opened === true : before.item === "" && current.item !== "";
  history[replace ? "replaceState" : "pushState"]({ opened }, "", address);
  tell(before);
}

/** Closes the picture that is open: back to where it was opened from. */
export function closeItem() {
  if (history.state?.opened) history.back();
  else set({ item: "" });
}

/** The address of the state, changed by `patch`: for links. */
export function href(state, patch = {}) {
  const { c, q, terms, is, within, where, rerank, side, min, view, item, ask } = { ...state, ...patch };
  const to = new URLSearchParams();
  const put = (name, value) => value && to.append(name, value);
  put("c", c === "default" ? "" : c);
  put("q", q);
  for (const term of terms) put(term.weight < 0 ? "minus" : "plus", writeTerm(term));
  for (const [name, values] of is) for (const value of values) put(`is.${name}`, value);
  for (const [name, [low, high]] of within) put(`in.${name}`, `${low ?? ""}..${high ?? ""}`);
  put("where", where);
  put("rerank", rerank ? "1" : "");
  put("side", side === "image" ? "" : side);
  put("min", min === null ? "" : String(min));
  put("view", view);
  put("ask", ask);
  put("item", item);
  const query = to.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
  return `${location.pathname}${query ? `?${query}` : ""}`;
}

/** Whether the two show the same pictures: the one that is open aside. */
export const sameResults = (a, b) => href(a, { item: "", ask: "" }) === href(b, { item: "", ask: "" });

/** The state without a query and without filters. */
export const cleared = () => ({ q: "", terms: [], is: new Map(), within: new Map(), where: "", min: null, view: "", item: "", ask: "" });

function read(search) {
  const from = new URLSearchParams(search);
  const text = (name) => from.get(name)?.trim() ?? "";
  const terms = [];
  const is = new Map();
  const within = new Map();
  for (const [name, value] of from) {
    if (name === "plus" && value.trim()) terms.push(parseOne(value));
    else if (name === "minus" && value.trim()) terms.push(parseOne(value, -1));
    else if (name.startsWith("is.")) is.set(name.slice(3), [...(is.get(name.slice(3)) ?? []), value]);
    else if (name.startsWith("in.")) {
      const [low, high] = value.split("..");
      within.set(name.slice(3), [low || null, high || null]);
    }
  }
  const side = text("side");
  const min = text("min") === "" ? null : Number(text("min"));
  return {
    c: text("c") || "default",
    q: from.get("q") ?? "",
    terms,
    is,
    within,
    where: text("where"),
    rerank: text("rerank") === "1",
    side: side === "caption" || side === "both" ? side : "image",
    min: Number.isFinite(min) ? min : null,
    view: text("view") === "duplicates" ? "duplicates" : "",
    item: /^\d+$/.test(text("item")) ? text("item") : "",
    ask: text("ask"),
  };
}

function tell(before) {
  for (const listener of listeners) listener(current, before);
}

window.addEventListener("popstate", () => {
  const before = current;
  current = read(location.search);
  tell(before);
});
