// Pictures of every view, to look at: `npm run shots`, then open tests/page/shots.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { launch, open } from "./browser.js";
import { VIEWS, serve } from "./views.js";

const folder = join(import.meta.dirname, "shots");
mkdirSync(folder, { recursive: true });
const server = await serve();
const browser = await launch();
const wanted = process.argv.slice(2);
try {
  for (const [name, { query, act }] of Object.entries(VIEWS)) {
    if (wanted.length && !wanted.includes(name)) continue;
    for (const [kind, look] of Object.entries({ light: {}, dark: { dark: true }, phone: { phone: true }, "phone-dark": { phone: true, dark: true } })) {
      const page = await open(browser, server.base, query, look);
      await act?.(page);
      await page.waitForNetworkIdle({ idleTime: 300 });
      await page.screenshot({ path: join(folder, `${name}-${kind}.png`) });
      await page.close();
    }
  }
} finally {
  await browser.close();
  await server.close();
}
