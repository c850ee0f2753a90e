// Finding: typing, terms, filters, keys, addresses, pictures to search by.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { launch, look, open, settled, shown, until } from "./browser.js";
import { SCENES, start } from "./server.js";

let server;
let browser;
before(async () => {
  server = await start();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.close();
});

/** Opens a page, hands it to `work`, and holds that nothing went wrong on it. */
const on = (name, query, work, options) =>
  test(name, async () => {
    const page = await open(browser, server.base, query, options);
    await work(page);
    assert.deepEqual(page.wrong, []);
    assert.deepEqual(page.outside, []);
    await page.close();
  });

const query = (page) => page.evaluate(() => Object.fromEntries(new URLSearchParams(location.search)));
const text = (page, selector) => page.$eval(selector, (element) => element.textContent);
const picture = (name) => readFileSync(`${SCENES}/${name}`).toString("base64");

/** Hands a file to the page as the clipboard or a drag would. */
const hand = (page, kind, target, base64) =>
  page.evaluate((kind, target, base64) => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], "query.jpg", { type: "image/jpeg" }));
    if (kind === "paste") return document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
    const drag = (type, at) => at.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
    drag("dragenter", document.body);
    if (document.getElementById("drop").hidden) throw new Error("nowhere to drop");
    drag("dragover", document.querySelector(target));
    drag("drop", document.querySelector(target));
  }, kind, target, base64);

on("a newcomer is taught by the collection's own captions", "", async (page) => {
  assert.equal(await text(page, "#status"), "300 pictures");
  const examples = await page.$$eval(".example", (all) => all.map(({ textContent }) => textContent));
  assert.ok(examples.length >= 4, `${examples}`);
  await page.click(".example");
  await settled(page);
  assert.equal((await query(page)).q, examples[0]);
  assert.equal(await page.$eval("#hero", ({ hidden }) => hidden), true);
});

on("it searches as one types, and asks for no letter in vain", "", async (page) => {
  const asked = [];
  page.on("request", (request) => request.url().endsWith("/search") && asked.push(JSON.parse(request.postData()).terms[0].text));
  // Letters that come faster than the page waits, however slow this machine is.
  await page.evaluate(() => {
    const input = document.getElementById("query");
    input.focus();
    for (const letter of "three violins") {
      input.value += letter;
      input.dispatchEvent(new InputEvent("input", { bubbles: true }));
    }
  });
  await until(page, () => new URLSearchParams(location.search).get("q") === "three violins");
  await settled(page);
  assert.match((await shown(page))[0], /violins/);
  assert.deepEqual(asked.filter((text) => "three violins".startsWith(text)), ["three violins"]);
  const entries = await page.evaluate(() => history.length);
  await page.keyboard.type(" and", { delay: 20 });
  await until(page, () => new URLSearchParams(location.search).get("q") === "three violins and");
  assert.equal(await page.evaluate(() => history.length), entries, "letters are no entries of the history");
});

on("nothing fits: it says so", "", async (page) => {
  await look(page, "quarterly tax report");
  await until(page, () => !document.getElementById("verdict").hidden);
  assert.match(await text(page, "#verdict"), /No good match/);
  await look(page, "a cat");
  await settled(page);
  assert.equal(await page.$eval("#verdict", ({ hidden }) => hidden), true, "a cat is there");
  assert.match((await shown(page))[0], /cat/);
});

on("terms become chips, that weigh, turn and go", "?q=lion", async (page) => {
  await page.click("#term-minus");
  await page.keyboard.type("night");
  await page.keyboard.press("Enter");
  await settled(page);
  assert.equal((await query(page)).minus, "night");
  await page.click(".chip-weight");
  await settled(page);
  assert.equal((await query(page)).minus, "2:night");
  await page.click(".chip-sign");
  await settled(page);
  assert.equal((await query(page)).plus, "2:night");
  assert.match((await shown(page))[0], /lions at night/);
  await page.click(".chip-remove");
  await settled(page);
  assert.equal((await query(page)).plus, undefined);
  await look(page, "lion + leopard");
  await page.keyboard.press("Enter");
  await settled(page);
  assert.deepEqual(await query(page), { q: "lion", plus: "leopard" });
});

on("an emptied chip takes itself away, and no other", "?q=lion&plus=cat&minus=night", async (page) => {
  await page.focus(".chip:nth-child(2) input");
  for (let letter = 0; letter < 6; letter += 1) await page.keyboard.press("Backspace");
  await until(page, () => !location.search.includes("minus"));
  await settled(page);
  assert.deepEqual(await query(page), { q: "lion", plus: "cat" });
});

on("filters come from the items' own fields", "?q=lion", async (page) => {
  await page.waitForSelector('[data-field="background"]');
  await page.click('[data-field="background"] button');
  const boxes = await page.$$(".ticks input");
  assert.ok(boxes.length > 5);
  const values = await page.$$eval(".ticks .clip", (all) => all.map(({ textContent }) => textContent));
  await boxes[values.indexOf("night")].click();
  await until(page, () => location.search.includes("is.background=night"));
  await settled(page);
  assert.match(await text(page, ".facet.on"), /background: night/);
  const nights = await shown(page);
  assert.ok(nights.length > 3 && nights.length < 40, `${nights.length} at night`);
  await page.keyboard.press("Escape");
  await page.click(".facet-off");
  await settled(page);
  assert.ok((await shown(page)).length > nights.length);
});

on("a range of numbers, and a condition in words", "?in.count=4..4&where=background+%3D+red", async (page) => {
  await until(page, () => document.querySelectorAll(".facet.on").length === 2);
  const { total } = await page.evaluate(async () => (await fetch("v1/collections/default/items?filter=count%20%3D%204%20and%20background%20%3D%20red")).json());
  assert.ok(total > 0);
  assert.equal((await shown(page)).length, total);
});

on("a condition that makes no sense is explained", "?q=lion&where=count+%3E%3E", async (page) => {
  assert.match(await text(page, "#verdict"), /That cannot be searched/);
  page.wrong.length = 0; // the browser notes the refusal
});

on("keys: to the box, through the grid, open, turn, close", "?q=lion", async (page) => {
  const focus = () => page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.id);
  await page.keyboard.press("/");
  assert.equal(await focus(), "query");
  await page.keyboard.press("ArrowDown");
  const names = await shown(page);
  assert.equal(await focus(), names[0]);
  await page.keyboard.press("ArrowRight");
  assert.equal(await focus(), names[1]);
  await page.keyboard.press("ArrowDown");
  const below = await focus();
  assert.ok(names.indexOf(below) > 3, "a row down");
  await page.keyboard.press("ArrowUp");
  assert.equal(await focus(), names[1]);
  await page.keyboard.press("Enter");
  await page.waitForSelector("#detail[open]");
  const opened = (await query(page)).item;
  await page.keyboard.press("ArrowRight");
  await until(page, (item) => new URLSearchParams(location.search).get("item") !== item, opened);
  await page.keyboard.press("ArrowLeft");
  await until(page, (item) => new URLSearchParams(location.search).get("item") === item, opened);
  await page.keyboard.press("Escape");
  await until(page, () => !document.getElementById("detail").open && !location.search.includes("item"));
  assert.equal(await focus(), names[1], "the focus returns to the picture");
  await page.keyboard.press("m");
  await until(page, (item) => new URLSearchParams(location.search).get("plus") === `id:${item}`, opened);
  await settled(page);
});

/** The id of a shipped scene. */
const idOf = (page, name) =>
  page.evaluate(async (name) => (await (await fetch("v1/collections/default/items?limit=1000")).json()).items.find(({ key }) => key.endsWith(name)).id, name);

on("a picture has its facts, and its like", "", async (page) => {
  const id = await idOf(page, "/0002.jpg");
  await page.goto(`${server.base}?item=${id}`);
  await until(page, () => document.querySelectorAll("#detail-similar-list img").length === 12);
  const facts = await text(page, "#detail-facts");
  for (const fact of ["two mandarins and a stiletto", "tangerine", "pink", "256 \u00d7 256 pixels", `id:${id}`]) assert.ok(facts.includes(fact), fact);
  await page.click("#detail-like");
  await until(page, (id) => new URLSearchParams(location.search).get("plus") === `id:${id}`, id);
  await settled(page);
  assert.match((await shown(page))[0], /two mandarins and a stiletto/, "nothing is more like it than itself");
});

on("a value of a picture narrows the search", "", async (page) => {
  await page.goto(`${server.base}?q=lion&item=${await idOf(page, "/0002.jpg")}`);
  await page.waitForSelector("#detail-facts .value");
  await page.evaluate(() => [...document.querySelectorAll("#detail-facts .value")].find(({ textContent }) => textContent === "pink").click());
  await until(page, () => location.search.includes("is.background=pink") && !location.search.includes("item"));
  await settled(page);
});

for (const [kind, target] of [["paste", ""], ["drop", "#drop-search"]]) {
  on(`it searches by a picture: ${kind}`, "", async (page) => {
    await hand(page, kind, target, picture(".views/0001.jpg"));
    await until(page, () => location.search.includes("plus=picture"));
    await settled(page);
    assert.match((await shown(page))[0], /yarn/);
    assert.equal(await page.$eval("#drop", ({ hidden }) => hidden), true);
    await page.reload();
    await settled(page);
    assert.match((await shown(page))[0], /yarn/, "it outlives a reload");
  });
}

on("the grid goes on as one scrolls, and each picture comes once", "?q=lion", async (page) => {
  for (let step = 0; step < 40 && (await shown(page)).length < 300; step += 1) {
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    await new Promise((done) => setTimeout(done, 100));
  }
  const ids = await page.$$eval(".tile", (all) => all.map(({ dataset }) => dataset.id));
  assert.equal(new Set(ids).size, 300);
  assert.equal(ids.length, 300);
});

on("rows fill the width, and Back returns", "?q=lion", async (page) => {
  const rows = await page.$$eval(".tile", (all) => {
    const rows = {};
    for (const tile of all) {
      const box = tile.getBoundingClientRect();
      (rows[Math.round(box.top)] ??= []).push([box.right, box.height]);
    }
    return Object.values(rows).slice(0, -1).map((row) => ({ right: Math.max(...row.map(([right]) => right)), heights: row.map(([, height]) => height) }));
  });
  assert.ok(rows.length > 2);
  for (const { right, heights } of rows) {
    assert.ok(Math.abs(right - rows[0].right) < 2, "rows end together");
    assert.ok(Math.max(...heights) - Math.min(...heights) < 1.5, "a row is one height");
  }
  await look(page, "a cat");
  await page.goBack();
  await until(page, () => document.getElementById("query").value === "lion");
  await settled(page);
});
