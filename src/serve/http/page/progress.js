// A bar with counts, and a list of what was refused.

import { h } from "./dom.js";
import { count, fileName } from "./format.js";

/** So many of the refused are listed. */
const LISTED = 50;

/** Fills `box` with a bar; `show(counts)` moves it, `end(text, failed)` says what came of it. */
export function begin(box, title) {
  const bar = h("progress", { "aria-label": title, max: "1" });
  const line = h("p", { role: "status" }, title);
  const list = h("ul");
  const refusals = h("details", { class: "refused", hidden: true }, h("summary"), list);
  box.replaceChildren(bar, line, refusals);
  box.hidden = false;
  const refuse = (refused = []) => {
    refusals.hidden = refused.length === 0;
    refusals.querySelector("summary").textContent = `${count(refused.length)} refused`;
    list.replaceChildren(
      ...refused.slice(0, LISTED).map(({ key, reason }) => h("li", {}, h("strong", { title: key }, fileName(key ?? "?")), ` ${typeof reason === "object" ? reason?.message : reason}`)),
      ...(refused.length > LISTED ? [h("li", {}, `and ${count(refused.length - LISTED)} more`)] : []),
    );
  };
  return {
    show({ listed = 0, listing_complete: complete, indexed = 0, unchanged = 0, refused, done }) {
      const made = done ?? indexed + unchanged + (refused?.length ?? 0);
      if (listed > 0) bar.value = Math.min(1, made / listed);
      line.textContent = `${count(made)} of ${count(listed)}${complete ? "" : " found so far"}${unchanged ? `, ${count(unchanged)} unchanged` : ""}`;
      refuse(refused);
    },
    end(text, failed = false) {
      bar.value = failed ? 0 : 1;
      bar.hidden = failed;
      line.textContent = text;
      line.classList.toggle("error", failed);
    },
  };
}
