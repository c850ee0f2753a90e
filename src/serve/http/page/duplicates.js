// Groups of pictures that are the same, or nearly, to look through and clear out.

import { get as fetchJson, remove, thumbnailOf, within as pathOf } from "./api.js";
import { byId, h } from "./dom.js";
import { fileName, many } from "./format.js";
import { icon } from "./icons.js";
import * as state from "./state.js";
import { complain, toast } from "./toast.js";
import { say } from "./verdict.js";

let groups = [];

/** Fetches and shows the groups. */
export async function show(now, signal) {
  byId("status").textContent = "Comparing\u2026";
  byId("groups").replaceChildren();
  ({ groups } = await fetchJson(pathOf(now.c, "/duplicates"), { signal }));
  const pictures = groups.reduce((sum, { items }) => sum + items.length, 0);
  byId("results-title").textContent = "Near-duplicates";
  byId("status").textContent = groups.length ? `${many(groups.length, "group")} of pictures that are the same, or nearly: ${many(pictures, "picture")}` : "";
  if (groups.length === 0) say("No near-duplicates.", "No two pictures of this collection are the same, or nearly.");
  byId("groups").replaceChildren(...groups.map((group) => groupOf(group, now)));
}

/** The pictures on show, in order. */
export const items = () => groups.flatMap((group) => group.items);

function groupOf({ kind, items: members }, now) {
  const same = kind === "same";
  return h("section", { class: "group", "aria-label": `${many(members.length, "picture")}, ${same ? "identical" : "alike"}` },
    h("h2", {}, h("span", { class: same ? "kind same" : "kind" }, same ? "Identical" : "Alike"), ` ${many(members.length, "picture")}`),
    h("ul", { class: "group-items" }, members.map((member, at) => memberOf(member, at, now))));
}

function memberOf(member, at, now) {
  const name = fileName(member.key);
  const link = h("a", {
    href: state.href(now, { item: String(member.id) }),
    "aria-label": `Open ${name}`,
    onclick: (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      state.set({ item: String(member.id) });
    },
  }, h("img", { src: thumbnailOf(now.c, member.id), alt: "", loading: "lazy", decoding: "async" }));
  const line = h("li", {}, link,
    h("p", { class: "clip", title: member.key }, name),
    h("p", { class: "group-foot" }, h("small", {}, at === 0 ? "first" : distance(member)),
      h("button", { type: "button", class: "ghost round", "aria-label": `Remove ${name} from the collection`, title: "Remove from the collection", onclick: () => take(member, line, now) }, icon("trash"))));
  return line;
}

/** How far a picture is from the first of its group. */
function distance({ distance: vector, hamming }) {
  if (typeof vector === "number") return vector < 0.0005 ? "no difference" : `differs by ${vector.toFixed(3)}`;
  return typeof hamming === "number" ? many(hamming, "bit") + " apart" : "";
}

async function take(member, line, now) {
  if (!confirm(`Remove ${fileName(member.key)} from the collection \u201c${now.c}\u201d? The file itself stays.`)) return;
  try {
    await remove(pathOf(now.c, `/items/${member.id}`));
    line.remove();
    groups = groups.map((group) => ({ ...group, items: group.items.filter(({ id }) => id !== member.id) }));
    toast("Removed from the collection.");
  } catch (error) {
    complain(error);
  }
}
