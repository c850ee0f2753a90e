// The views that are looked at, by rules and by people: an address, and what is done there.

const wait = (page, selector) => page.waitForSelector(selector, { visible: true });

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
  duplicates: { query: "?view=duplicates" },
  collections: {
    query: "?q=cat",
    async act(page) {
      await page.click("#collection-button");
      await wait(page, ".menu");
    },
  },
  add: { query: "", act: (page) => page.click("#add-button") },
  help: { query: "", act: (page) => page.keyboard.press("?") },
  empty: { query: "?c=empty" },
};
