// Starts the program over a data directory of its own, on a free port.

import { execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "../..");
export const SCENES = join(ROOT, "assets/scenes");

/** What a caption must never do. It sets `window.broken` if anything reads it as HTML. */
export const HOSTILE = `<img src=x onerror="window.broken=1"><script>window.broken=1</script> a cat & "friends"`;

function program() {
  const path = process.env.EYESHOT_BIN ?? join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "debug/eyeshot");
  if (!existsSync(path)) throw new Error(`${path} is not there: run \`cargo build\` first, or set EYESHOT_BIN`);
  return path;
}

/** A few scenes in a new folder, one with a hostile caption and payload, one twice. */
export function folderOfScenes(names) {
  const folder = mkdtempSync(join(tmpdir(), "eyeshot-scenes-"));
  for (const name of names) {
    for (const end of ["jpg", "json"]) cpSync(join(SCENES, `${name}.${end}`), join(folder, `${name}.${end}`));
  }
  cpSync(join(SCENES, `${names[0]}.jpg`), join(folder, "hostile.jpg"));
  writeFileSync(join(folder, "hostile.json"), JSON.stringify({ captions: [HOSTILE], objects: [HOSTILE], note: HOSTILE, deep: { er: [HOSTILE] } }));
  return folder;
}

/** Starts a server over `folders` (each a collection's name and what to index); `close` ends it and forgets its data. */
export async function start({ folders = { default: SCENES }, flags = [], empty = [] } = {}) {
  const data = mkdtempSync(join(tmpdir(), "eyeshot-page-"));
  const run = (...args) => execFileSync(program(), ["--data", data, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  for (const [name, folder] of Object.entries(folders)) run("index", folder, "-c", name);
  const nothing = join(data, "nothing");
  for (const name of empty) {
    mkdirSync(nothing, { recursive: true });
    run("index", nothing, "-c", name);
  }
  const child = spawn(program(), ["--data", data, "serve", "--json", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", ...flags]);
  let errors = "";
  child.stderr.on("data", (text) => (errors += text));
  const address = await new Promise((ready, failed) => {
    let said = "";
    child.stdout.on("data", (text) => {
      said += text;
      if (said.includes("\n")) ready(JSON.parse(said).http);
    });
    child.on("exit", (code) => failed(new Error(`eyeshot serve ended with ${code}: ${errors}`)));
  });
  return {
    base: `http://${address}/`,
    async close() {
      const gone = new Promise((done) => child.removeAllListeners("exit").on("exit", done));
      child.kill("SIGTERM");
      await gone;
      rmSync(data, { recursive: true, force: true });
    },
  };
}
