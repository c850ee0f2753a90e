// The question box and what "look closer" shows: on real answers of the demo models, and on answers laid into the browser's hands,
// for what no demo model says.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, open, settled, shown, until } from "./browser.js";
import { start } from "./server.js";

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

const events = (...all) => all.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("");

/** A page whose server has the features, and answers as `answer(path, body)` says; what that leaves is the server's own. */
async function openWith(features, answer, query = "") {
  const page = await open(browser, server.base);
  await page.setRequestInterception(true);
  page.on("request", (request) => {
    const path = new URL(request.url()).pathname;
    if (path === "/v1/collections/default") return request.respond({ contentType: "application/json", body: JSON.stringify({ name: "default", features }) });
    const made = answer(path, request.postData() && JSON.parse(request.postData()));
    return made ? request.respond(made) : request.continue();
  });
  await page.goto(server.base + query);
  await settled(page);
  return page;
}

test("a question is answered from the scenes, and what was looked at can be opened", async () => {
  const page = await open(browser, server.base);
  await page.goto(server.base);
  await page.waitForSelector("#query-ask", { visible: true });
  await page.type("#query", "is there a koala?");
  await page.click("#query-ask");
  await until(page, () => document.querySelector(".answer-text:not([aria-busy]) .citation"));
  assert.match(await page.$eval(".answer-text", ({ textContent }) => textContent), /^yes \d/);
  const looked = await page.$$eval(".answer .strip li", (all) => all.map(({ dataset }) => Number(dataset.number)));
  assert.deepEqual(looked, looked.map((_, at) => at + 1));
  await page.click(".answer-text .citation");
  await until(page, () => document.getElementById("detail").open);
  await page.close();
});

test("looking closer finds who stands left of whom", async () => {
  const page = await open(browser, server.base);
  await page.goto(`${server.base}?q=${encodeURIComponent("a penguin left of a fire extinguisher")}&rerank=1`);
  await settled(page);
  assert.match((await shown(page))[0], /\d+% match/);
  await page.close();
});

test("it is not offered where the server has no answers", async () => {
  const page = await openWith({ rerank: false, ask: false }, () => null);
  assert.deepEqual(await page.$$eval("#query-ask, #closer", (all) => all.map(({ hidden }) => hidden)), [true, true]);
  await page.close();
});

test("an answer streams in, and its citations open pictures", async () => {
  const ids = await (await fetch(`${server.base}v1/collections/default/items?limit=2`)).json();
  const looking = ids.items.map(({ id, key }, at) => ({ number: at + 1, id, key, score: 0.4, match: 0.9 }));
  const citations = looking.map(({ id, key, number }) => ({ id, key, number }));
  const body = events({ looking }, { piece: "Two lions <b>sleep</b> [1], " }, { piece: "and one roars [2][9]." }, { answer: "", citations, abstained: false });
  const page = await openWith({ ask: true }, (path) => path.endsWith("/ask") && { contentType: "text/event-stream", body });
  await page.waitForSelector("#query-ask", { visible: true });
  await page.type("#query", "what do the lions do?");
  await page.click("#query-ask");
  await until(page, () => document.querySelector(".answer-text:not([aria-busy])"));
  assert.equal(await page.$eval(".answer-text", ({ textContent }) => textContent), "Two lions <b>sleep</b> 1, and one roars 2[9].");
  assert.equal(await page.$$eval(".answer .strip img", (all) => all.length), 2);
  await page.click(".answer-text a:nth-of-type(2)");
  await until(page, (id) => document.getElementById("detail").open && new URLSearchParams(location.search).get("item") === String(id), citations[1].id);
  await page.close();
});

test("an answer that fails says why; one that abstains looks so", async () => {
  let body = events({ piece: "Well" }, { error: { code: "unavailable", message: "the model is busy: ask again" } });
  const page = await openWith({ ask: true }, (path) => path.endsWith("/ask") && { contentType: "text/event-stream", body }, "?ask=why");
  await until(page, () => document.querySelector(".answer-text:not([aria-busy])"));
  assert.match(await page.$eval(".answer-text", ({ textContent }) => textContent), /ask again/);
  body = events({ looking: [] }, { piece: "No picture here tells." }, { citations: [], abstained: true });
  await page.goto(`${server.base}?ask=who`);
  await until(page, () => document.querySelector(".answer.abstained .answer-text:not([aria-busy])"));
  await page.close();
});

test("looking closer tells likely pictures from the others", async () => {
  const asked = [];
  const page = await openWith({ rerank: true }, (path, body) => {
    if (!path.endsWith("/search") || body.offset === undefined) return null;
    asked.push(body.rerank);
    const hits = [0.98, 0.7, 0.2].map((match, at) => ({ rank: at + 1, id: at + 1, key: `file:///${at}.jpg`, score: 0.4, match: body.rerank ? match : undefined, captions: [`picture ${at}`], width: 4, height: 3 }));
    return { contentType: "application/json", body: JSON.stringify({ hits, took_ms: 3 }) };
  }, "?q=lion");
  await page.waitForSelector("#closer", { visible: true });
  await page.click("#closer");
  await until(page, () => location.search.includes("rerank=1"));
  await settled(page);
  assert.deepEqual(asked, [undefined, true]);
  assert.deepEqual(await shown(page), ["picture 0, 98% match", "picture 1, 70% match", "picture 2, 20% match"]);
  assert.equal(await page.$eval(".divider + .tile .badge", ({ textContent }) => textContent), "20%");
  await page.close();
});
