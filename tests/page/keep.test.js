// Keeping: uploads, folders, removal, near-duplicates, collections, the key prompt.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, settled, shown, until } from "./browser.js";
import { SCENES, folderOfScenes, start } from "./server.js";

const KEY = "the-key-of-these-tests";
let server;
let browser;
let folder;
let other;
before(async () => {
  folder = folderOfScenes(["0001", "0002", "0003"]);
  other = folderOfScenes(["0005", "0006", "0007", "0008"]);
  server = await start({ folders: { default: folder }, empty: ["empty"], flags: ["--api-key", KEY, "--allow-root", other] });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.close();
  for (const made of [folder, other]) if (made) rmSync(made, { recursive: true, force: true });
});

const text = (page, selector) => page.$eval(selector, (element) => element.textContent);

/** Opens a page of a fresh visitor, shows it the key that it asks for, and hands it to `work`. */
async function withKey(query, work) {
  const browsing = await browser.createBrowserContext();
  const page = await browsing.newPage();
  page.setDefaultTimeout(30_000);
  await page.goto(server.base + query);
  await page.waitForSelector("#key-dialog[open]");
  await page.type("#key-input", KEY);
  await page.keyboard.press("Enter");
  await until(page, () => !document.getElementById("key-dialog").open);
  await settled(page);
  await work(page);
  await browsing.close();
}

test("a key is asked for, a wrong one refused, the right one kept from scripts", async () => {
  const browsing = await browser.createBrowserContext();
  const page = await browsing.newPage();
  await page.goto(server.base);
  await page.waitForSelector("#key-dialog[open]");
  await page.keyboard.press("Escape");
  assert.equal(await page.$eval("#key-dialog", ({ open }) => open), true, "there is nothing to see without one");
  await page.type("#key-input", "a-wrong-key");
  await page.keyboard.press("Enter");
  await until(page, () => document.getElementById("key-error").textContent !== "");
  await page.type("#key-input", KEY);
  await page.keyboard.press("Enter");
  await until(page, () => document.querySelectorAll("#grid .tile.loaded").length === 4);
  const kept = await page.evaluate(() => document.cookie + JSON.stringify({ ...localStorage }) + JSON.stringify({ ...sessionStorage }));
  assert.ok(!kept.includes(KEY));
  await page.reload();
  await until(page, () => document.querySelectorAll("#grid .tile.loaded").length === 4);
  await browsing.close();
});

test("an empty collection says how to begin; uploads fill it, and bad files are named", () =>
  withKey("?c=empty", async (page) => {
    assert.match(await text(page, "#hero-text"), /empty/);
    await page.click("#examples .primary");
    const input = await page.$("#upload-files");
    await input.uploadFile(join(SCENES, "0004.jpg"), join(SCENES, "0013.jpg"), join(SCENES, "0004.json"));
    await until(page, () => /added/.test(document.getElementById("upload-progress").textContent));
    assert.match(await text(page, "#upload-progress"), /2 pictures added, 1 refused/);
    assert.match(await text(page, "#upload-progress .refused"), /0004\.json/);
    await page.keyboard.press("Escape");
    await until(page, () => document.querySelectorAll("#grid .tile.loaded").length === 2);
    await page.type("#query", "cat");
    await until(page, () => location.search.includes("q=cat"));
    await settled(page);
    const first = await page.$eval(".tile", ({ dataset }) => dataset.id);
    const key = await page.evaluate(async (id) => (await (await fetch(`v1/collections/empty/items/${id}`)).json()).key, first);
    assert.match(key, /0004/);
  }));

test("a folder is indexed while its progress is told; one that is not allowed is explained", () =>
  withKey("?c=empty", async (page) => {
    await page.click("#add-button");
    await page.type("#index-source", "/etc");
    await page.keyboard.press("Enter");
    await until(page, () => document.querySelector("#index-progress .error"));
    await page.click("#index-source", { clickCount: 3 });
    await page.type("#index-source", other);
    await page.keyboard.press("Enter");
    await until(page, () => /5 pictures indexed, 1 of them known bytes/.test(document.getElementById("index-progress").textContent));
    await page.keyboard.press("Escape");
    await until(page, () => /^[57] pictures$/.test(document.getElementById("status").textContent));
  }));

test("near-duplicates are shown in groups, and one can be removed", () =>
  withKey("?view=duplicates", async (page) => {
    assert.equal(await page.$$eval(".group", (all) => all.length), 1);
    assert.match(await text(page, ".group"), /Identical/);
    page.on("dialog", (dialog) => dialog.accept());
    await page.click(".group li:last-child .group-foot button");
    await until(page, () => document.querySelectorAll(".group li").length === 1);
    await page.click("#home");
    await settled(page);
    assert.equal((await shown(page)).length, 3);
  }));

test("collections are switched, made and deleted", () =>
  withKey("", async (page) => {
    await page.click("#collection-button");
    await page.waitForSelector(".menu");
    assert.match(await text(page, ".menu"), /default.*empty.*New collection/s);
    await page.click(".menu > .menu-item");
    await page.type("#new-name", "made here");
    await page.keyboard.press("Enter");
    await until(page, () => document.getElementById("new-error").textContent !== "", { timeout: 10_000 });
    await page.click("#new-name", { clickCount: 3 });
    await page.type("#new-name", "made-here");
    await page.keyboard.press("Enter");
    await until(page, () => location.search.includes("c=made-here") && document.getElementById("hero-text").textContent.includes("empty"));

    // Deleting asks for the name, and takes no other for an answer.
    const answers = ["made there", "made-here"];
    page.on("dialog", (dialog) => dialog.accept(answers.shift()));
    const drop = async (said) => {
      await page.click("#collection-button");
      await page.waitForSelector(".menu > .menu-item:last-child");
      await page.click(".menu > .menu-item:last-child");
      await until(page, (said) => document.body.textContent.includes(said), said);
    };
    await drop("Nothing was deleted");
    await drop("Deleted \u201cmade-here\u201d");
    await until(page, () => !location.search.includes("c=made-here"));
    const left = await page.evaluate(async () => (await (await fetch("v1/collections")).json()).collections.map(({ name }) => name));
    assert.ok(left.includes("default") && !left.includes("made-here"), `${left}`);
  }));
