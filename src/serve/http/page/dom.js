// The few words that the page's modules share for making elements.
//
// Whatever comes from the server goes in as text, never as HTML: nothing in this folder names `innerHTML`, and a test sees
// to that.

/** The element of this page with the id. */
export const byId = (id) => document.getElementById(id);

/**
 * Makes an element. `on...` properties are listeners, `true` is a bare attribute, and null, undefined and false leave one out.
 * Children are nodes or text; null and false are left out.
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "value" || name === "checked" || name === "indeterminate") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Calls `work` when nothing has asked for it again for `wait` milliseconds. `.now()` does not wait, `.cancel()` forgets. */
export function debounced(work, wait) {
  let timer;
  const later = (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...args), wait);
  };
  later.cancel = () => clearTimeout(timer);
  later.now = (...args) => {
    clearTimeout(timer);
    work(...args);
  };
  return later;
}

/** Whether keys pressed there are text. */
export const isTyping = (target) =>
  target instanceof HTMLElement &&
  (target.isContentEditable || target.matches("textarea, select, input:not([type=checkbox], [type=range], [type=radio])"));
