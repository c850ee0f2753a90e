// Asks for an API key when the server wants one. The server keeps it in a cookie that scripts cannot read; the page forgets it.

import { byId } from "./dom.js";

let asking = null;

/** Resolves when the server has taken a key. Whoever asks meanwhile waits for the same answer. */
export function askKey() {
  asking ??= ask().finally(() => (asking = null));
  return asking;
}

function ask() {
  const dialog = byId("key-dialog");
  const form = byId("key-form");
  const input = byId("key-input");
  const wrong = byId("key-error");
  wrong.textContent = "";
  if (!dialog.open) dialog.showModal();
  input.focus();
  return new Promise((resolve) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      const response = await fetch(new URL("v1/session", document.baseURI), {
        method: "POST",
        headers: { "content-type": "application/json" },
        credentials: "same-origin",
        body: JSON.stringify({ key: input.value }),
      }).catch(() => null);
      if (response?.ok) {
        input.value = "";
        dialog.close();
        resolve();
      } else {
        wrong.textContent = response ? "The server does not know this key." : "The server does not answer.";
        input.select();
      }
    };
    // Without a key there is nothing to show behind the dialog.
    dialog.oncancel = (event) => event.preventDefault();
  });
}
