// The search box: searches as you type, takes pictures, and shows which terms make up the query.

import * as chips from "./chips.js";
import { byId, debounced } from "./dom.js";
import { keep } from "./pictures.js";
import * as state from "./state.js";
import { parse } from "./terms.js";
import { complain } from "./toast.js";

/** How long typing must pause before a search, in milliseconds: shorter than a pause is felt, longer than keys are apart. */
const PAUSE = 140;

/** Makes the search box work. */
export function start() {
  const input = byId("query");
  // Back returns to the search before this one, not to its letters: only the first letter of a visit makes an entry.
  let fresh = true;
  const look = debounced(() => {
    const q = input.value.trim();
    if (q === state.get().q.trim()) return;
    state.set({ q, view: "", item: "", ask: "" }, { replace: !fresh });
    fresh = false;
  }, PAUSE);

  input.addEventListener("input", () => {
    byId("query-clear").hidden = input.value === "";
    look();
  });
  input.addEventListener("focus", () => (fresh = true));
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    look.now();
    fresh = true;
    spread();
  });
  byId("query-clear").addEventListener("click", () => {
    input.value = "";
    look.cancel();
    state.set({ ...state.cleared(), is: state.get().is, within: state.get().within, where: state.get().where });
    input.focus();
  });
  byId("query-picture").addEventListener("click", () => byId("query-file").click());
  byId("query-file").addEventListener("change", ({ target }) => {
    if (target.files[0]) byPicture(target.files[0]);
    target.value = "";
  });
  byId("term-plus").addEventListener("click", () => chips.begin(1));
  byId("term-minus").addEventListener("click", () => chips.begin(-1));
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    byPicture(file);
  });
  state.subscribe(draw);
  draw(state.get());
}

/** Searches by a picture of this browser, with the words that are there. */
export async function byPicture(file) {
  try {
    const number = await keep(file);
    const others = state.get().terms.filter(({ kind }) => kind !== "picture");
    state.set({ terms: [{ kind: "picture", value: number, weight: 1 }, ...others], view: "", item: "", ask: "" });
  } catch (error) {
    complain(error);
  }
}

/** All terms of the query: what is typed, then the chips. */
export const termsOf = ({ q, terms }) => [...parse(q), ...terms];

/** Whether there is a query at all. */
export const isQuery = (now) => termsOf(now).length > 0;

/** `horse + stripes` becomes `horse` and a chip, once it is sent off. */
function spread() {
  const [first, ...rest] = parse(state.get().q);
  if (!first || (rest.length === 0 && first.kind === "text")) return;
  const keepFirst = first.kind === "text" && first.weight === 1;
  state.set({ q: keepFirst ? first.value : "", terms: [...(keepFirst ? rest : [first, ...rest]), ...state.get().terms] });
}

function draw(now) {
  const input = byId("query");
  // While someone types, the box is ahead of the state.
  if (document.activeElement !== input || now.q.trim() !== input.value.trim()) input.value = now.q;
  byId("query-clear").hidden = input.value === "" && now.terms.length === 0;
  byId("query-row").hidden = !isQuery(now) || now.view !== "";
  chips.draw(now);
}
