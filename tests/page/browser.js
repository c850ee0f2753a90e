// Starts Chromium, and pages that remember everything that went wrong on them.

import { execFileSync } from "node:child_process";
import puppeteer from "puppeteer-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome"];

function chromium() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  for (const name of NAMES) {
    try {
      return execFileSync("which", [name], { encoding: "utf8" }).trim();
    } catch {
      // the next name
    }
  }
  throw new Error(`no browser: install Chromium, or set CHROMIUM to one (looked for ${NAMES.join(", ")})`);
}

/** Starts the browser. */
export const launch = () =>
  puppeteer.launch({ executablePath: chromium(), args: ["--no-sandbox", "--force-color-profile=srgb"], protocolTimeout: 90_000 });

/** Opens a page. `page.wrong` gathers errors and broken policies, `page.outside` addresses of other machines. */
export async function open(browser, base, query = "", { width = 1280, height = 800, dark = false, phone = false, scale = phone ? 2 : 1 } = {}) {
  const page = await browser.newPage();
  page.wrong = [];
  page.outside = [];
  page.setDefaultTimeout(20_000);
  await page.setViewport({ width: phone ? 390 : width, height: phone ? 844 : height, deviceScaleFactor: scale, isMobile: phone, hasTouch: phone });
  await page.emulateMediaFeatures([
    { name: "prefers-color-scheme", value: dark ? "dark" : "light" },
    { name: "prefers-reduced-motion", value: "reduce" },
  ]);
  page.on("pageerror", (error) => page.wrong.push(String(error)));
  page.on("console", (message) => message.type() === "error" && page.wrong.push(message.text()));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(base) && !/^(data|blob):/.test(url)) page.outside.push(url);
  });
  await page.evaluateOnNewDocument(() => {
    document.addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  });
  await page.goto(base + query);
  await settled(page);
  return page;
}

/** Waits until nothing is on its way into the results. */
export const settled = (page) => page.waitForFunction(() => document.querySelector("#results") && !document.querySelector("#results[aria-busy], .waiting"));

/** Waits until the condition holds in the page. */
export const until = (page, condition, ...args) => page.waitForFunction(condition, { polling: 50 }, ...args);

/** The accessible names of the pictures on show. */
export const shown = (page) => page.$$eval("#grid .tile > a", (links) => links.map((link) => link.getAttribute("aria-label")));

/** Types into the search box. */
export async function look(page, text) {
  await page.click("#query", { clickCount: 3 });
  await page.keyboard.type(text, { delay: 15 });
  await until(page, (q) => new URLSearchParams(location.search).get("q") === q, text);
  await settled(page);
}
