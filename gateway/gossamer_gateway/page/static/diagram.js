// A process's diagram with a token on each element that has instances. The viewer is loaded when it
// is first wanted; a model that has no drawing of its own is laid out.

import { ask } from "./api.js";
import { h, plural, say } from "./dom.js";

const EVERY_MS = 2500;

const MODEL = "http://www.omg.org/spec/BPMN/20100524/MODEL";
const DRAWING = "http://www.omg.org/spec/BPMN/20100524/DI";

/** The model with a drawing: its own, or one that is made for it. */
async function laidOut(xml, layout) {
  const model = new DOMParser().parseFromString(xml, "application/xml");
  if (model.getElementsByTagNameNS(DRAWING, "BPMNShape").length) return xml;
  const byId = new Map([...model.querySelectorAll("[id]")].map((one) => [one.id, one]));
  for (const flow of model.getElementsByTagNameNS(MODEL, "sequenceFlow")) {
    // The layout follows these, which a model may leave out.
    for (const [end, name] of [["sourceRef", "outgoing"], ["targetRef", "incoming"]]) {
      const node = byId.get(flow.getAttribute(end));
      if (!node || [...node.children].some((one) => one.localName === name && one.textContent.trim() === flow.id)) continue;
      const word = model.createElementNS(MODEL, name);
      word.textContent = flow.id;
      const before = [...node.children].find((one) => !["documentation", "extensionElements", "incoming"].includes(one.localName));
      node.insertBefore(word, before ?? null);
    }
  }
  return layout(new XMLSerializer().serializeToString(model));
}

class Diagram extends HTMLElement {
  connectedCallback() {
    this.title_ = h("h2", { id: "diagram-title" });
    this.note = h("p", { class: "empty", role: "status" });
    this.canvas = h("div", { class: "canvas" });
    this.list = h("ul", { class: "tokens" });
    const close = h("button", { type: "button", class: "plain", onclick: () => this.dialog.close() }, "Close");
    const fit = h("button", { type: "button", class: "plain", onclick: () => this.viewer?.get("canvas").zoom("fit-viewport", "auto") }, "Fit");
    this.dialog = h("dialog", { class: "diagram", "aria-labelledby": "diagram-title", onclose: () => this.#over() }, h("header", {}, this.title_, fit, close), this.note, this.canvas, this.list);
    this.append(this.dialog);
    addEventListener("gossamer-diagram", (event) => this.#show(event.detail));
  }

  async #show(wanted) {
    this.wanted = wanted;
    say(this.title_, `${wanted.process} on ${wanted.engine}`);
    say(this.note, "Loading…");
    this.list.replaceChildren();
    this.dialog.showModal();
    try {
      this.modules ??= await import("./vendor/bpmn.js");
      let drawn = null;
      while (this.dialog.open && this.wanted === wanted) {
        const told = await ask(`/v1/processes/${encodeURIComponent(wanted.process)}/diagram?engine=${encodeURIComponent(wanted.engine)}`);
        if (this.wanted !== wanted || !this.dialog.open) return;
        if (drawn !== told.xml) await this.#draw((drawn = told.xml));
        this.#tokens(told);
        await new Promise((go) => setTimeout(go, EVERY_MS));
      }
    } catch (failed) {
      if (this.wanted === wanted) say(this.note, `It cannot be shown: ${failed.message}`);
    }
  }

  async #draw(xml) {
    this.viewer?.destroy();
    this.viewer = new this.modules.Viewer({ container: this.canvas });
    await this.viewer.importXML(await laidOut(xml, this.modules.layoutProcess));
    this.viewer.get("canvas").zoom("fit-viewport", "auto");
  }

  #tokens({ tokens, version }) {
    const overlays = this.viewer.get("overlays");
    const registry = this.viewer.get("elementRegistry");
    overlays.remove({ type: "token" });
    this.list.replaceChildren();
    const where = tokens === null ? "where its instances are is unknown" : tokens.length ? "live" : "no instance is in it";
    say(this.note, `Version ${version ?? "unknown"}, ${where}.`);
    for (const { element, instances, incidents } of tokens ?? []) {
      const shape = registry.get(element);
      const name = shape?.businessObject?.name || element;
      const text = `${name}: ${plural(instances, "instance")}${incidents ? `, ${plural(incidents, "incident")}` : ""}`;
      this.list.append(h("li", {}, text));
      if (!shape || !instances) continue;
      const token = h("span", { class: `token${incidents ? " stuck" : ""}`, title: text }, String(instances));
      overlays.add(element, "token", { position: { top: -12, right: 14 }, html: token });
    }
  }

  #over() {
    this.wanted = null;
    this.viewer?.destroy();
    this.viewer = null;
  }
}

customElements.define("gs-diagram", Diagram);
