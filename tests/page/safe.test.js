// Whatever a file's owner wrote stays text, and the page asks nobody but its server.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { after, before, test } from "node:test";
import { launch, open, settled, until } from "./browser.js";
import { HOSTILE, folderOfScenes, start } from "./server.js";

let server;
let browser;
let folder;
before(async () => {
  folder = folderOfScenes(["0001", "0002", "0003", "0004", "0005"]);
  server = await start({ folders: { default: folder } });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.close();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

for (const query of ["", "?q=yarn", "?view=duplicates", `?q=${encodeURIComponent(HOSTILE)}&plus=${encodeURIComponent(HOSTILE)}&is.objects=${encodeURIComponent(HOSTILE)}`]) {
  test(`hostile words stay text: ${query.slice(0, 30)}`, async () => {
    const page = await open(browser, server.base, query);
    await settled(page);
    const hostile = await page.evaluate(async () => (await (await fetch("v1/collections/default/items?limit=100")).json()).items.find(({ key }) => key.endsWith("hostile.jpg")).id);
    await page.evaluate(async () => {
      for (const chip of document.querySelectorAll("#filters .facet")) chip.click();
    });
    await page.goto(`${server.base}${query || "?"}&item=${hostile}`);
    await until(page, () => document.getElementById("detail-facts").textContent !== "");
    assert.equal(await page.$eval("#detail-title", ({ textContent }) => textContent), HOSTILE, "it is shown as it was written");
    assert.ok((await page.$eval("#detail-facts", ({ textContent }) => textContent)).includes("onerror"));
    assert.equal(await page.evaluate(() => window.broken), undefined);
    assert.equal(await page.$('img[src="x"], #grid script, #detail script'), null);
    assert.deepEqual(page.wrong, [], "no policy was broken either");
    assert.deepEqual(page.outside, []);
    await page.close();
  });
}

test("the policy is at work: an inline script does not run", async () => {
  const page = await open(browser, server.base);
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.broken = 1";
    document.body.append(script);
  });
  assert.equal(await page.evaluate(() => window.broken), undefined);
  assert.match(page.wrong.join("\n"), /Content Security Policy|policy/i);
  await page.close();
});
