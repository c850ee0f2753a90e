// The query language, as `eyeshot search` has it: `horse + 2:stripes - grass`, `id:7`, a URL.
//
// A term is {kind, value, weight}: kind is "text", "id", "uri" or "picture" (a picture of this browser, by its number).

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** The terms of what was typed. */
export function parse(query) {
  const groups = [{ sign: 1, words: [] }];
  for (const word of query.split(/\s+/).filter(Boolean)) {
    if (word === "+" || word === "-" || word === "\u2212") groups.push({ sign: word === "+" ? 1 : -1, words: [] });
    else groups.at(-1).words.push(word);
  }
  return groups.filter(({ words }) => words.length).map(({ sign, words }) => parseOne(words.join(" "), sign));
}

/** One term with an optional weight: `stripes`, `2:stripes`, `0.5:a wooden table`. */
export function parseOne(text, sign = 1) {
  const colon = text.indexOf(":");
  const number = colon > 0 ? text.slice(0, colon).trim() : "";
  const rest = text.slice(colon + 1).trim();
  const weighed = NUMBER.test(number) && rest !== "" && Number.isFinite(Number(number));
  return { ...kindOf(weighed ? rest : text.trim()), weight: sign * (weighed ? Number(number) : 1) };
}

/** What a text names. */
function kindOf(text) {
  const numbered = /^(id|picture):(\d+)$/.exec(text);
  if (numbered) return { kind: numbered[1], value: numbered[2] };
  if (/^https?:\/\/\S+$/.test(text)) return { kind: "uri", value: text };
  return { kind: "text", value: text };
}

/** A term as `parseOne` reads it, without its sign. */
export function write({ kind, value, weight }) {
  const size = Math.abs(weight);
  const text = kind === "id" || kind === "picture" ? `${kind}:${value}` : value;
  // A text that begins like a weight needs one, so that it is read back as it is.
  const plain = size === 1 && parseOne(text).weight === 1 && parseOne(text).value === value;
  return plain ? text : `${size}:${text}`;
}

/** Whether at least one term says what to look for. */
export const looksFor = (terms) => terms.some(({ weight }) => weight > 0);
