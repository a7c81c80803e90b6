// Where new instances of a process go: a slider for each engine's share, set when a person says so.

import { ask } from "./api.js";
import { watched } from "./asked.js";
import { Part, h, hue, keyed, say, set } from "./dom.js";
import { notice } from "./frame.js";
import { changes } from "./live.js";

const ALL = "*";

class Routes extends Part {
  begin() {
    this.list = h("ul", { class: "routes" });
    this.empty = h("p", { class: "empty card" });
    this.append(this.list, this.empty);
    watched.addEventListener("routes", () => this.redraw());
    watched.addEventListener("progress", () => this.redraw());
    changes.addEventListener("route", () => watched.look("routes", "/v1/routes"));
  }

  draw() {
    const known = watched.routes;
    const engines = known?.engines ?? [];
    this.list.hidden = !known || !engines.length;
    this.empty.hidden = !!known && engines.length > 0;
    say(this.empty, !known ? (watched.failed.routes ? watched.failed.routes.message : "Not asked yet.") : "This gateway has no engine.");
    if (!known) return;
    const made = new Map(known.routes.map((one) => [one.process, one]));
    const names = new Set([ALL, ...made.keys(), ...(watched.progress?.processes ?? []).map((one) => one.process)]);
    const rows = [...names].sort((one, other) => (one === ALL) - (other === ALL) || one.localeCompare(other));
    keyed(
      this.list, rows.map((process) => ({ process, route: made.get(process), engines })),
      (one) => `${one.process} ${one.engines}`,
      (one) => new Route(one).element,
      (element, one) => element.route.update(one.route),
    );
  }
}

class Route {
  constructor({ process, engines }) {
    this.process = process;
    this.engines = engines;
    this.sliders = new Map();
    this.touched = false;
    const title = process === ALL ? "All other processes" : process;
    this.note = h("small");
    this.sum = h("output");
    this.apply = h("button", { type: "submit", disabled: true }, "Set");
    this.back = h("button", { type: "button", class: "plain", hidden: true, onclick: () => this.reset() }, "Undo");
    this.bar = h("div", { class: "shares", "aria-hidden": "true" });
    const form = h("form", { onsubmit: (event) => this.submit(event), "aria-label": `Route of ${title}` });
    form.append(h("header", {}, h("h3", {}, title), this.note), this.bar);
    for (const engine of engines) {
      const id = `share-${process}-${engine}`;
      const slider = h("input", { type: "range", id, min: 0, max: 100, step: 1, value: 0, oninput: () => this.moved(engine) });
      slider.style.accentColor = hue(engine);
      const shown = h("output", { for: id });
      const part = h("i");
      part.style.background = hue(engine);
      this.bar.append(part);
      this.sliders.set(engine, { slider, shown, part });
      form.append(h("div", { class: "share" }, h("label", { for: id }, engine), slider, shown));
    }
    form.append(h("footer", {}, this.sum, this.back, this.apply));
    this.element = h("li", { class: "card" }, form);
    this.element.route = this;
  }

  update(route) {
    this.route = route;
    say(this.note, route ? `set ${route.who ? `by ${route.who} ` : ""}${when(route.at)}` : "no route yet");
    set(this.element, "data-made", route ? "yes" : null);
    if (!this.touched) this.reset();
  }

  reset() {
    this.touched = false;
    for (const [engine, one] of this.sliders) one.slider.value = Math.round(this.route?.shares[engine] ?? 0);
    this.draw();
  }

  /** Of two engines the other takes the rest; among more a person sees to the sum. */
  moved(engine) {
    this.touched = true;
    if (this.sliders.size === 2) {
      for (const [other, one] of this.sliders) if (other !== engine) one.slider.value = 100 - Number(this.sliders.get(engine).slider.value);
    }
    this.draw();
  }

  shares() {
    return Object.fromEntries([...this.sliders].map(([engine, { slider }]) => [engine, Number(slider.value)]).filter(([, share]) => share > 0));
  }

  draw() {
    let sum = 0;
    for (const { slider, shown, part } of this.sliders.values()) {
      sum += Number(slider.value);
      say(shown, `${slider.value} %`);
      set(slider, "aria-valuetext", `${slider.value} per cent`);
      part.style.width = `${slider.value}%`;
    }
    this.apply.disabled = !this.touched || sum !== 100;
    this.back.hidden = !this.touched;
    say(this.sum, this.touched && sum !== 100 ? `${sum} % together; it must be 100 %` : "");
  }

  async submit(event) {
    event.preventDefault();
    const shares = this.shares();
    try {
      await ask(`/v1/routes/${encodeURIComponent(this.process)}`, { method: "PUT", body: { shares } });
      this.touched = false;
      const told = Object.entries(shares).map(([engine, share]) => `${share} % to ${engine}`).join(", ");
      notice(`New instances of ${this.process === ALL ? "all other processes" : this.process}: ${told}.`);
    } catch (refused) {
      notice(refused.message, "bad");
    }
    await watched.look("routes", "/v1/routes");
  }
}

function when(at) {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? "" : date.toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
}

customElements.define("gs-routes", Routes);
