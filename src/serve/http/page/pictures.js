// Pictures that were dropped, pasted or chosen to search by. They live in this tab alone, under a number that the address
// holds: going back or reloading finds them again, a link sent to someone else does not.

const PREFIX = "eyeshot.picture.";
const KEPT = 8;
/** Larger ones are made smaller before they are sent: encoders look at a few hundred pixels. */
const BYTES = 300_000;
const SIDE = 768;

const here = new Map();

/** Keeps a picture; gives its number. Fails where the file is no picture that a browser or the server could read. */
export async function keep(blob) {
  const small = blob.size > BYTES ? await shrink(blob) : blob;
  const url = await dataUrl(small);
  const number = String(Math.max(0, ...numbers()) + 1);
  here.set(number, url);
  store(number, url);
  return number;
}

/** The picture as a data URL; undefined where this tab does not have it. */
export function find(number) {
  try {
    return here.get(number) ?? sessionStorage.getItem(PREFIX + number) ?? undefined;
  } catch {
    return here.get(number);
  }
}

/** The picture's bytes in base64. */
export const base64 = (number) => find(number)?.split(",")[1];

async function shrink(blob) {
  const bitmap = await createImageBitmap(blob).catch(() => null);
  if (!bitmap) return blob; // TIFF and the like: the server may know more formats than the browser
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const type = blob.type === "image/jpeg" ? "image/jpeg" : "image/png";
  return new Promise((resolve) => canvas.toBlob((made) => resolve(made ?? blob), type, 0.92));
}

function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error("The picture cannot be read."));
    reader.readAsDataURL(blob);
  });
}

function numbers() {
  const known = [...here.keys()].map(Number);
  try {
    for (let at = 0; at < sessionStorage.length; at += 1) {
      const key = sessionStorage.key(at);
      if (key.startsWith(PREFIX)) known.push(Number(key.slice(PREFIX.length)));
    }
  } catch {
    // storage is refused: this page's own are all there are
  }
  return known;
}

function store(number, url) {
  try {
    for (const old of numbers().sort((a, b) => b - a).slice(KEPT)) sessionStorage.removeItem(PREFIX + old);
    sessionStorage.setItem(PREFIX + number, url);
  } catch {
    // full or refused: the picture is kept until the page is left
  }
}
