// The views that are looked at, by rules and by people: an address, and what is done there.

import { settled } from "./browser.js";
import { SCENES, folderOfScenes, start } from "./server.js";

const wait = (page, selector) => page.waitForSelector(selector, { visible: true });

/** The server whose views they are: the scenes, a few with twins, and a collection with nothing in it. */
export const serve = () =>
  start({ folders: { default: SCENES, twins: folderOfScenes(["0001", "0002", "0003"]) }, empty: ["empty"], flags: ["--allow-root", SCENES] });

/** Opens a collection that was made just now, and has nothing in it. */
async function inNewCollection(page) {
  const name = await page.evaluate(async () => {
    const name = `made-${Date.now()}`;
    await fetch("v1/collections", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ name }) });
    return name;
  });
  await page.goto(`${page.url().split("?")[0]}?c=${name}`);
  await settled(page);
}

export const VIEWS = {
  home: { query: "" },
  results: { query: "?q=lion&minus=night&plus=2:leopard" },
  "more-like": { query: "?plus=id:191" },
  "no-match": { query: "?q=quarterly+tax+report", act: (page) => wait(page, "#verdict") },
  detail: { query: "?q=lion&item=191", act: (page) => wait(page, "#detail-similar-list img") },
  filters: {
    query: "?q=lion&is.background=red&is.background=night",
    async act(page) {
      await (await wait(page, '[data-field="background"] button')).click();
      await wait(page, ".popover");
    },
  },
  range: {
    query: "?q=lion&in.count=2..3",
    async act(page) {
      await (await wait(page, "#tune-button")).click();
      await wait(page, ".popover");
    },
  },
  duplicates: { query: "?c=twins&view=duplicates", act: (page) => wait(page, ".group img") },
  "no-duplicates": { query: "?view=duplicates" },
  collections: {
    query: "?q=cat",
    async act(page) {
      await page.click("#collection-button");
      await wait(page, ".menu");
    },
  },
  ask: { query: `?q=${encodeURIComponent("is there a koala?")}&ask=${encodeURIComponent("is there a koala?")}`, act: (page) => wait(page, ".answer-text:not([aria-busy]) .citation") },
  progress: {
    query: "",
    async act(page) {
      await inNewCollection(page);
      await page.click("#add-button");
      await page.type("#index-source", SCENES);
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => document.querySelector("#index-progress progress")?.value > 0);
    },
  },
  refused: {
    query: "",
    async act(page) {
      await page.click("#add-button");
      await page.type("#index-source", "/etc");
      await page.keyboard.press("Enter");
      await wait(page, "#index-progress .error");
    },
  },
  wrong: { query: `?q=lion&where=${encodeURIComponent("width >>> 3")}`, act: (page) => wait(page, "#verdict, .toast") },
  missing: { query: "?c=nowhere", act: (page) => wait(page, "#verdict, .toast") },
  add: { query: "", act: (page) => page.click("#add-button") },
  help: { query: "", act: (page) => page.keyboard.press("?") },
  empty: { query: "?c=empty" },
};
