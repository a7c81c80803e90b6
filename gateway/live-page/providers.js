// <gossamer-providers>: how the clouds' functions do, as the gateway's own calls went. It asks every few seconds while
// somebody sees it; where the gateway has no such thing it is not there.
//
//   <gossamer-providers gateway>

import { ask, baseOf } from "./asking.js";
import { define, h, keyed, Part, plural, say, set } from "./part.js";

const EVERY_MS = 3000;

const LOOKS = `
.all { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 250px), 1fr)); gap: 12px; }
.one { border: 1px solid var(--line); border-radius: 11px; padding: 10px 13px; background: var(--paper); }
.one[data-state="open"] { border-color: var(--bad); }
.one[data-state="half-open"] { border-color: var(--warn); }
.top { display: flex; gap: 8px; align-items: center; justify-content: space-between; }
.top strong { font-weight: 640; }
.figures { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: 13px; color: var(--soft); margin-top: 4px; }
.last { margin-top: 5px; font-size: 13px; color: var(--bad); }
`;

const CIRCUITS = { closed: ["good", "answers"], "half-open": ["warn", "trying again"], open: ["bad", "not asked"] };

class Providers extends Part {
  static observedAttributes = ["gateway"];
  #regions = [];
  #timer = null;

  make() {
    this.list = h("div", { class: "all" });
    this.root.append(h("section", { class: "card", "aria-label": "Providers" }, h("header", {}, h("h2", {}, "Providers"), h("small", {}, "as this gateway's own calls went")), this.list));
    this.hidden = true;
  }

  started() {
    const look = async () => {
      if (document.hidden || (await this.look())) this.#timer = setTimeout(look, EVERY_MS);
    };
    look();
    this.ends(() => clearTimeout(this.#timer));
  }

  /** Asks; false: there is no such thing here. */
  async look() {
    let there = true;
    try {
      const told = await ask(baseOf(this.getAttribute("gateway")), "/v1/workflow/providers");
      const providers = Array.isArray(told) ? told : (told.items ?? told.providers ?? []);
      this.#regions = providers.flatMap((one) => (one.regions.length ? one.regions.map((region) => ({ of: one, region })) : one.configured ? [{ of: one, region: null }] : []));
    } catch (refused) {
      this.#regions = [];
      there = refused.status !== 404;
    }
    this.redraw();
    return there && this.isConnected;
  }

  draw() {
    this.hidden = this.#regions.length === 0;
    keyed(
      this.list, this.#regions, ({ of, region }) => `${of.name} ${region?.region}`,
      () => h("div", { class: "one" }, h("div", { class: "top" }, h("strong"), h("span", { class: "badge" })), h("div", { class: "figures" }, h("span"), h("span"), h("span"), h("span")), h("p", { class: "last" })),
      (element, { of, region }) => {
        const [top, figures, last] = element.children;
        const [colour, word] = region ? CIRCUITS[region.circuit] : ["", "not asked yet"];
        set(element, "data-state", region?.circuit);
        say(top.firstChild, region?.region ? `${of.name} · ${region.region}` : of.name);
        set(top.lastChild, "class", `badge ${of.configured ? colour : "warn"}`);
        say(top.lastChild, of.configured ? word : "not configured");
        const told = region ? [plural(region.calls, "call"), region.at_work ? `${region.at_work} at work` : "", region.failed ? `${region.failed} failed` : "", region.p50_ms === null ? "" : `p50 ${Math.round(region.p50_ms)} ms · p99 ${Math.round(region.p99_ms)} ms`] : ["", "", "", ""];
        told.forEach((text, index) => say(figures.children[index], text));
        const error = region?.last_error;
        last.hidden = !error || region.circuit === "closed";
        say(last, error ? `${error.code}: ${error.message}` : "");
      },
    );
  }
}

define("gossamer-providers", Providers, LOOKS);
