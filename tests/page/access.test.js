// axe-core's rules over every view, in light and dark, wide and narrow.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { launch, open, settled, until } from "./browser.js";
import { VIEWS, serve } from "./views.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let server;
let browser;
before(async () => {
  server = await serve();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.close();
});

for (const [name, { query, act }] of Object.entries(VIEWS)) {
  for (const look of [{}, { dark: true }, { phone: true }]) {
    test(`${name} ${JSON.stringify(look)}`, async () => {
      const page = await open(browser, server.base, query, look);
      await act?.(page);
      await settled(page);
      await until(page, () => [...document.querySelectorAll(".tile img")].filter((img) => img.getBoundingClientRect().top < innerHeight).every((img) => img.complete));
      // Given by the debugger, which the page's policy does not bind.
      await page.evaluate(AXE);
      const violations = await page.evaluate(async () => (await window.axe.run(document, { resultTypes: ["violations"] })).violations);
      const told = violations.map(({ id, help, nodes }) => `${id}: ${help}\n${nodes.slice(0, 3).map(({ html, failureSummary }) => `  ${html}\n  ${failureSummary}`).join("\n")}`);
      assert.deepEqual(told, []);
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wider <= 0, `${wider} pixels wider than the window`);
      await page.close();
    });
  }
}
