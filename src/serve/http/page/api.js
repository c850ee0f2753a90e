// The server's JSON API (`v1/openapi.json`): requests, errors, and streams of events.

import { askKey } from "./session.js";

/** What the server said no to; `message` says what to change. */
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The address of something of the API. */
export const address = (path) => new URL(`v1/${path}`, document.baseURI).href;

/** The address of something of a collection. */
export const within = (collection, rest = "") => `collections/${encodeURIComponent(collection)}${rest}`;

/** The address of an item's picture, or of a small copy of it. */
export const imageOf = (collection, id) => address(within(collection, `/items/${id}/image`));
export const thumbnailOf = (collection, id, size = 320) => address(within(collection, `/items/${id}/thumbnail?size=${size}`));

/** Gets JSON. */
export const get = (path, options) => json("GET", path, undefined, options);
/** Posts JSON (or a form) and gets JSON. */
export const post = (path, body, options) => json("POST", path, body, options);
/** Deletes. */
export const remove = (path, options) => json("DELETE", path, undefined, options);

async function json(method, path, body, options) {
  const response = await request(method, path, body, options);
  const text = await response.text();
  return text === "" ? {} : JSON.parse(text);
}

/** Posts JSON and hands each event of the answer's stream to `onEvent` as it comes. */
export async function stream(path, body, onEvent, options = {}) {
  const response = await request("POST", path, body, { ...options, accept: "text/event-stream" });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
    waiting += (value ?? "").replaceAll("\r\n", "\n");
    const blocks = waiting.split("\n\n");
    waiting = done ? "" : blocks.pop();
    for (const block of blocks) {
      const event = readEvent(block);
      if (event) onEvent(event);
    }
    if (done) return;
  }
}

/** One block of a stream; null for a comment that keeps the line open. */
function readEvent(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  if (!data.length) return null;
  const event = JSON.parse(data.join("\n"));
  if (name === "error" || event.error?.message) {
    const { code, message } = event.error ?? event;
    throw new ApiError(500, code, message);
  }
  return event;
}

async function request(method, path, body, { signal, accept = "application/json" } = {}) {
  const form = body instanceof FormData;
  const headers = { accept };
  if (body !== undefined && !form) headers["content-type"] = "application/json";
  const send = () =>
    fetch(address(path), { method, headers, signal, body: form ? body : body && JSON.stringify(body), credentials: "same-origin" });
  let response = await reach(send);
  while (response.status === 401) {
    await askKey();
    response = await reach(send);
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

async function reach(send) {
  try {
    return await send();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "The server does not answer. Is eyeshot still running?");
  }
}

async function errorOf(response) {
  try {
    const { error } = await response.json();
    return new ApiError(response.status, error.code, error.message);
  } catch {
    return new ApiError(response.status, "unknown", `The server answered ${response.status} ${response.statusText}`.trim());
  }
}
