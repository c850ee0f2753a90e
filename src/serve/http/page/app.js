// Wires the page together. What is shown follows from the state (`state.js`), and the state is the address:
//
// 1. `search`, `chips`, `filters`, `tune`, `collections` and `drop` change the state;
// 2. `results` fetches what the state asks for, and `grid`, `hero`, `verdict` and `duplicates` show it;
// 3. `detail` shows one picture, `ask` an answer;
// 4. `add` brings new pictures in;
// 5. `api` talks to the server, and `session` asks for a key when it wants one.

import * as add from "./add.js";
import * as ask from "./ask.js";
import * as chips from "./chips.js";
import * as collections from "./collections.js";
import * as detail from "./detail.js";
import { byId } from "./dom.js";
import * as drop from "./drop.js";
import * as filters from "./filters.js";
import * as grid from "./grid.js";
import { icon, placeIcons } from "./icons.js";
import * as keys from "./keys.js";
import * as results from "./results.js";
import * as search from "./search.js";
import * as state from "./state.js";
import * as tune from "./tune.js";

placeIcons();
theme();
search.start();
tune.start();
filters.start();
grid.start({
  open: detail.open,
  more: detail.moreLike,
  like: (id, weight) => chips.add({ kind: "id", value: String(id), weight }),
});
collections.start();
add.start();
drop.start();
keys.start();
ask.start();
for (const link of [byId("home"), byId("duplicates-link")]) link.addEventListener("click", follow);
state.subscribe(entitle);
entitle(state.get());
results.start();
results.refresh();
filters.reload();
detail.start();

/** Follows a link of the page without loading it anew. */
function follow(event) {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  const view = event.currentTarget.id === "duplicates-link" && state.get().view === "" ? "duplicates" : "";
  state.set({ ...state.cleared(), view });
}

/** The window's title says what is looked for. */
function entitle({ q, terms, view }) {
  const what = view === "duplicates" ? "Near-duplicates" : q.trim() || (terms.length ? "More like this" : "");
  document.title = what ? `${what} \u00b7 Eyeshot` : "Eyeshot";
}

/** The button goes round: as the system has it, light, dark. */
function theme() {
  const button = byId("theme-button");
  const order = ["auto", "light", "dark"];
  const draw = () => {
    const now = window.eyeshotTheme.now();
    button.replaceChildren(icon({ auto: "auto", light: "sun", dark: "moon" }[now]));
    const name = { auto: "as the system has it", light: "light", dark: "dark" }[now];
    button.setAttribute("aria-label", `Theme: ${name}`);
    button.title = `Theme: ${name}`;
  };
  button.addEventListener("click", () => {
    window.eyeshotTheme.set(order[(order.indexOf(window.eyeshotTheme.now()) + 1) % order.length]);
    draw();
  });
  draw();
}
