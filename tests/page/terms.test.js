// The query language of the page is that of `eyeshot search`: these are the cases of `src/types/terms.rs`.

import assert from "node:assert/strict";
import test from "node:test";
import { parse, parseOne, write } from "../../src/serve/http/page/terms.js";

const cases = [
  ["a red car", [[1, "text", "a red car"]]],
  ["horse + stripes - grass", [[1, "text", "horse"], [1, "text", "stripes"], [-1, "text", "grass"]]],
  ["2:golden retriever - 0.5:swimming pool", [[2, "text", "golden retriever"], [-0.5, "text", "swimming pool"]]],
  ["well-known e-mail", [[1, "text", "well-known e-mail"]]],
  ["- grass", [[-1, "text", "grass"]]],
  ["-2:grass", [[-2, "text", "grass"]]],
  ["id:7", [[1, "id", "7"]]],
  ["2:id:7 + cat", [[2, "id", "7"], [1, "text", "cat"]]],
  ["https://example.org/a.jpg", [[1, "uri", "https://example.org/a.jpg"]]],
  ["ratio 16:9", [[1, "text", "ratio 16:9"]]],
  ["  ", []],
];

for (const [query, wanted] of cases) {
  test(`reads ${JSON.stringify(query)}`, () => {
    assert.deepEqual(parse(query).map(({ weight, kind, value }) => [weight, kind, value]), wanted);
  });
}

for (const text of ["stripes", "2:stripes", "0.5:a wooden table", "id:7", "3:id:7", "1:2:1 model", "https://example.org/a.jpg", "a - b"]) {
  test(`writes ${JSON.stringify(text)} as it is read`, () => {
    const term = parseOne(text);
    assert.deepEqual(parseOne(write(term)), term);
  });
}
