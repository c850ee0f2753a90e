// Numbers, sizes, dates and names, as people read them.

const counts = new Intl.NumberFormat("en");

/** `12,345` */
export const count = (n) => counts.format(n);

/** `1 picture`, `2 pictures` */
export const many = (n, one, several = `${one}s`) => `${count(n)} ${n === 1 ? one : several}`;

/** A cosine, in two digits. */
export const score = (x) => x.toFixed(2).replace("-0.00", "0.00").replace("-", "\u2212");

/** A probability; never rounded up to certainty. */
export const percent = (p) => (p > 0.99 && p < 1 ? ">99%" : p > 0 && p < 0.01 ? "<1%" : `${Math.round(p * 100)}%`);

/** `1.4 MB` */
export function bytes(n) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let at = 0;
  let size = n;
  while (size >= 1000 && at < units.length - 1) {
    size /= 1000;
    at += 1;
  }
  return `${at === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[at]}`;
}

/** A weight as a chip shows it: `\u00bd`, `2`. */
export const weight = (w) => ({ 0.5: "\u00bd", 0.25: "\u00bc", 1.5: "1\u00bd" })[Math.abs(w)] ?? String(Math.abs(w));

/** The last part of a key: a file's name. */
export function fileName(key) {
  const last = key.split(/[?#]/)[0].split("/").filter(Boolean).at(-1) ?? key;
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

/** A field's name as a label: `background`, `camera iso`. */
export const label = (name) => name.replace(/^payload\./, "").replaceAll(/[._]/g, " ");

/** What names an item best: its first caption, else its file. */
export const title = (item) => item.captions?.[0] ?? fileName(item.key ?? `picture ${item.id}`);
