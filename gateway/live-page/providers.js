// <gossamer-providers>: how the clouds' functions do, as the gateway's own calls went. It asks every few seconds while
// somebody sees it; where the gateway has no such thing it is not there.
//
//   <gossamer-providers gateway>

import { ask, baseOf } from "./asking.js";
import { clock, moment, plain } from "./forms.js";
import { health } from "./health.js";
import { define, h, keyed, Part, plural, say, set } from "./part.js";

const EVERY_MS = 3000;

const LOOKS = `
.all { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 250px), 1fr)); gap: 12px; }
.one { border: 1px solid var(--line); border-radius: 11px; padding: 10px 13px; background: var(--paper); }
.one[data-colour="bad"] { border-color: var(--bad); }
.one[data-colour="warn"] { border-color: var(--warn); }
[data-stale] { opacity: 0.7; }
.top { display: flex; flex-wrap: wrap; gap: 2px 8px; align-items: center; justify-content: space-between; }
.top strong { font-weight: 640; min-width: 0; }
.badge::before { font-weight: 700; font-size: 11px; line-height: 1; }
.badge.good::before { content: "✓" / ""; }
.badge.warn::before { content: "!" / ""; }
.badge.bad::before { content: "✕" / ""; }
.figures { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: 13px; color: var(--soft); margin-top: 4px; }
.figures span:empty { display: none; }
.last { margin-top: 5px; font-size: 13px; color: var(--soft); }
.last b { font-weight: 600; color: var(--ink); }
[data-colour="bad"] .last b, [data-colour="warn"] .last b { color: var(--bad); }
`;

class Providers extends Part {
  static observedAttributes = ["gateway"];
  #regions = [];
  #timer = null;
  #heardMs = 0;
  #stale = false;

  make() {
    this.list = h("div", { class: "all" });
    this.asOf = h("small");
    this.root.append(h("section", { class: "card", "aria-label": "Providers" }, h("header", {}, h("h2", {}, "Providers"), this.asOf), this.list));
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
    let failed = false;
    try {
      const told = await ask(baseOf(this.getAttribute("gateway")), "/v1/workflow/providers");
      const providers = Array.isArray(told) ? told : (told.items ?? told.providers ?? []);
      this.#regions = providers.flatMap((one) => (one.regions.length ? one.regions.map((region) => ({ of: one, region })) : one.configured ? [{ of: one, region: null }] : []));
    } catch (refused) {
      failed = true;
      // While nobody answers, what was known last stays, and says of when it is.
      if (refused.status >= 400 && refused.status < 500) this.#regions = [];
      there = refused.status !== 404 && refused.status !== 403;
    }
    if (!failed) this.#heardMs = Date.now();
    this.#stale = failed;
    this.redraw();
    return there && this.isConnected;
  }

  draw() {
    this.hidden = this.#regions.length === 0;
    say(this.asOf, this.#stale ? `as of ${clock(this.#heardMs, { millis: false })}` : "as this gateway's own calls went");
    set(this.list, "data-stale", this.#stale);
    keyed(
      this.list, this.#regions, ({ of, region }) => `${of.name} ${region?.region}`,
      () => h("div", { class: "one" }, h("div", { class: "top" }, h("strong"), h("span", { class: "badge" })), h("div", { class: "figures" }, ...Array.from({ length: 6 }, () => h("span"))), h("p", { class: "last lines-4", dir: "auto" })),
      (element, { of, region }) => {
        const [top, figures, last] = element.children;
        const [colour, word] = health(of.configured, region);
        set(element, "data-colour", colour);
        set(element, "data-state", region?.circuit);
        say(top.firstChild, region?.region ? `${of.name} · ${region.region}` : of.name);
        set(top.lastChild, "class", `badge ${colour}`);
        say(top.lastChild, word);
        const told = [
          region && plural(region.calls, "call"), region?.at_work && `${region.at_work} at work`, region?.failed && `${region.failed} failed`,
          region?.errors && plural(region.errors, "error of the function", "errors of the function"), region?.refused && `${region.refused} not made`,
          typeof region?.p50_ms === "number" && `p50 ${Math.round(region.p50_ms)} ms · p99 ${Math.round(region.p99_ms)} ms`,
        ];
        told.forEach((text, index) => say(figures.children[index], text || ""));
        const error = region?.last_error;
        last.hidden = !error;
        if (!error || last.told === error.at_ms) return;
        last.told = error.at_ms;
        const at = h("time", { datetime: new Date(error.at_ms).toISOString(), title: moment(error.at_ms) }, clock(error.at_ms, { millis: false }));
        last.replaceChildren(h("b", {}, error.code), error.message ? `: ${plain(error.message)}` : "", " · ", at);
      },
    );
  }
}

define("gossamer-providers", Providers, LOOKS);
