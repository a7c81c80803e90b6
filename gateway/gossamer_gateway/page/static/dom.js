// Small things that every part of the page uses. Text is always text: nothing here makes markup of
// what came over the network.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("p", {class: "note", onclick: f}, "text", child)`. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((one) => one !== null && one !== undefined));
  return element;
}

/** Sets text only where it is another, so that nothing is selected or announced anew. */
export function say(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

export function set(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/**
 * Brings a parent's children in line with items, and keeps the elements that stay: focus and
 * animations outlive a change.
 */
export function keyed(parent, items, key, make, update) {
  const kept = (parent.keyed ??= new Map());
  const wanted = new Set();
  let at = null;
  for (const item of items) {
    const id = key(item);
    wanted.add(id);
    let element = kept.get(id);
    if (!element) kept.set(id, (element = make(item)));
    update(element, item);
    const next = at ? at.nextElementSibling : parent.firstElementChild;
    if (next !== element) parent.insertBefore(element, next);
    at = element;
  }
  for (const [id, element] of kept) {
    if (wanted.has(id)) continue;
    kept.delete(id);
    element.remove();
  }
}

export const number = (value) => (value === null || value === undefined ? "unknown" : value.toLocaleString("en"));

export function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

/** `4 s`, `3 min`, `2 h`, `5 d`. */
export function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

export const ago = (ms) => (ms === null || ms === undefined ? "unknown" : `${span(Date.now() - ms)} ago`);

/** Long ids, in the middle cut: their ends tell them apart. */
export const short = (id) => (id.length > 14 ? `${id.slice(0, 4)}…${id.slice(-6)}` : id);

/** A colour of the palette for each engine, in the order of their names' first sight. */
const hues = new Map();
export function hue(engine) {
  if (!hues.has(engine)) hues.set(engine, hues.size % 5);
  return `var(--engine-${hues.get(engine)})`;
}

/** An element of the page that is drawn anew, once a frame at most, when the store changes. */
export class Part extends HTMLElement {
  #asked = false;

  connectedCallback() {
    this.begin?.();
    this.redraw();
  }

  redraw() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      if (this.isConnected) this.draw();
    });
  }
}

/** A table whose rows become cards where the window is narrow. */
export function table(caption, heads) {
  const body = h("tbody");
  const element = h(
    "table", {},
    h("caption", { class: "hidden" }, caption),
    h("thead", {}, h("tr", {}, ...heads.map((one) => h("th", { scope: "col" }, one)))),
    body,
  );
  return { element, body, row: () => h("tr", {}, ...heads.map((one) => h("td", { "data-head": one }))) };
}

export function badge(text, kind) {
  return h("span", { class: `badge ${kind}` }, text);
}
