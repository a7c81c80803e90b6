// What all components have in common: a shadow root with the house's looks, a store of their gateway, drawing at
// once but with a rest after it, so that a busy gateway leaves a page its time, and saying whether they are
// connected: one of them for all, so that nobody is told the same thing five times.

import { h, say, set } from "../gossamer_gateway/page/static/dom.js";
import { baseOf } from "./asking.js";
import { sheets } from "./looks.js";
import { storeOf } from "./store.js";

export { h, keyed, plural, s, say, set, short } from "../gossamer_gateway/page/static/dom.js";

const REST_MS = 50;
const RUN_CHARACTERS = 8;
const STATES = { connecting: "connecting…", live: "live", away: "not connected, trying again…", closed: "a key is wanted" };

export class Part extends HTMLElement {
  #ends = [];
  #asked = false;
  #timer = null;
  #made = false;
  #drawnMs = -Infinity;

  /** A component has `make()`, which fills `this.root` once, `draw()`, and perhaps `need()`. */
  connectedCallback() {
    if (!this.#made) {
      this.#made = true;
      this.root = this.attachShadow({ mode: "open" });
      this.root.adoptedStyleSheets = this.constructor.looks;
      this.make();
    }
    this.begin();
  }

  disconnectedCallback() {
    this.end();
  }

  attributeChangedCallback(_name, before, after) {
    if (!this.#made || !this.isConnected || before === after) return;
    this.end();
    this.begin();
  }

  begin() {
    this.store = storeOf(baseOf(this.getAttribute("gateway")));
    this.hear(this.store, "change", () => this.redraw());
    this.hear(this.store, "state", () => this.redraw());
    const need = this.need?.();
    if (need) this.#ends.push(this.store.attach(need));
    this.started?.();
    this.redraw();
  }

  end() {
    for (const one of this.#ends.splice(0)) one();
    clearTimeout(this.#timer);
    this.#timer = null;
    if (this.store?.speaker === this) this.store.speaker = null;
  }

  /** Something to be undone when the component goes. */
  ends(undo) {
    this.#ends.push(undo);
  }

  hear(target, kind, listener) {
    target.addEventListener(kind, listener);
    this.#ends.push(() => target.removeEventListener(kind, listener));
  }

  redraw() {
    if (this.#asked) return;
    this.#asked = true;
    const frame = () =>
      requestAnimationFrame(() => {
        this.#asked = false;
        if (!this.isConnected) return;
        this.draw();
        this.#drawnMs = performance.now();
      });
    const rest = this.#drawnMs + REST_MS - performance.now();
    if (rest > 0) setTimeout(frame, rest);
    else frame();
  }

  /** Draws again after a while, as what is told in seconds goes on by itself. */
  again(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.redraw(), ms);
  }

  /** The mark that says whether what is shown is what is. */
  link() {
    const text = h("span");
    const element = h("span", { class: "link" }, h("span", { class: "dot", "aria-hidden": "true" }), text);
    return {
      element,
      draw: () => {
        const { store } = this;
        store.speaker ??= this;
        const speaks = store.speaker === this;
        set(element, "data-state", store.state);
        set(element, "title", store.detail || STATES[store.state]);
        set(text, "role", speaks ? "status" : null);
        set(text, "class", speaks && store.state !== "live" ? null : "unseen");
        element.hidden = !speaks;
        say(text, speaks ? STATES[store.state] : "");
      },
    };
  }

  /** Where a run is shown: the attribute `run-href` with `{run}` in it. */
  href(run) {
    const form = this.getAttribute("run-href");
    // Not every scheme is a place: `javascript:` is none.
    return form && /^(https?:|[#/.?])/.test(form) ? form.replace("{run}", encodeURIComponent(run)) : null;
  }

  /** A link to a run where the page has a place for it; else a button that says `gossamer-run`. */
  runLink(id) {
    const href = this.href(id);
    // The end of it: runs of the same minute begin alike.
    const shown = id.length > RUN_CHARACTERS + 5 ? `…${id.slice(-RUN_CHARACTERS)}` : id;
    const attributes = { class: `run mono${href ? "" : " word"}`, title: id, "data-run": id, "aria-label": `Run ${shown}` };
    const element = href ? h("a", { ...attributes, href }, shown) : h("button", { ...attributes, type: "button" }, shown);
    element.addEventListener("click", () => this.dispatchEvent(new CustomEvent("gossamer-run", { detail: id, bubbles: true, composed: true })));
    return element;
  }

  /** Puts the focus on a link to a run; false: none is shown. */
  focusRun(id) {
    const link = [...this.root.querySelectorAll(".run")].find((one) => one.dataset.run === id && one.checkVisibility());
    link?.focus();
    return Boolean(link);
  }
}

/** Defines a component. Loaded twice, as by two versions in one page, the first stays. */
export function define(name, part, looks) {
  part.looks = sheets(looks);
  if (!customElements.get(name)) customElements.define(name, part);
}

const KIND = { Completed: "good", Failed: "bad", Cancelled: "warn", Running: "busy", Pending: "", Waiting: "warn", Left: "" };

export function statusBadge(status) {
  return h("span", { class: `badge status ${KIND[status] ?? ""}`, "data-status": status }, status);
}

export function showStatus(badge, status) {
  set(badge, "class", `badge status ${KIND[status] ?? ""}`);
  set(badge, "data-status", status);
  say(badge, status);
}

/** A sentence of parts of any language and direction, each without effect on what is beside it. JSON goes from left. */
export const sentence = (parts) => parts.flatMap((part, index) => [index ? " · " : "", h("bdi", { dir: /^[[{"]/.test(part) ? "ltr" : null }, part)]);
