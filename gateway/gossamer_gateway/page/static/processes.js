// What runs on the engines: processes and how far they are, instances, incidents. What an engine
// cannot tell is unknown, and is written so.

import { ask } from "./api.js";
import { watched } from "./asked.js";
import { Part, ago, h, hue, keyed, number, say, set, short, table } from "./dom.js";
import { notice } from "./frame.js";
import { follow, store } from "./live.js";

const SEEN = { engine: "", exporter: "as its exporter told", gateway: "as far as it went through this gateway" };

export function show(process, engine) {
  dispatchEvent(new CustomEvent("gossamer-diagram", { detail: { process, engine } }));
}

class Processes extends Part {
  begin() {
    this.list = h("ul", { class: "processes" });
    this.unknown = h("ul", { class: "unknowns" });
    this.empty = h("p", { class: "empty card" });
    this.append(this.unknown, this.list, this.empty);
    watched.addEventListener("progress", () => this.redraw());
  }

  draw() {
    const told = watched.progress;
    const processes = told?.processes ?? [];
    this.empty.hidden = processes.length > 0;
    say(this.empty, told ? "No process is deployed on an engine that can be asked." : (watched.failed.progress?.message ?? "Not asked yet."));
    keyed(this.unknown, Object.entries(told?.unknown ?? {}), ([engine]) => engine, () => h("li", { class: "note" }), (element, [engine, why]) => say(element, `What runs on ${engine} is unknown: ${why}.`.replace("..", ".")));
    keyed(this.list, processes, (one) => one.process, (one) => h("li", { class: "card" }, h("h3"), h("ul", { class: "sides" })), (element, one) => {
      say(element.firstChild, one.name ? `${one.name} (${one.process})` : one.process);
      keyed(element.lastChild, one.engines, (side) => side.engine, (side) => this.#side(one.process, side), drawSide);
    });
  }

  #side(process, { engine }) {
    const button = h("button", { type: "button", class: "plain", onclick: () => show(process, engine), "aria-label": `Diagram of ${process} on ${engine}` }, "Diagram");
    const side = h("li", {}, h("header", {}, h("strong", {}, engine), h("small"), button), h("div", { class: "progress-bar", "aria-hidden": "true" }, h("i", { class: "done" }), h("i", { class: "live" }), h("i", { class: "stuck" })), h("dl", { class: "counts" }));
    side.style.setProperty("--hue", hue(engine));
    return side;
  }
}

function drawSide(element, side) {
  const [header, bar, counts] = element.children;
  say(header.children[1], [side.version === null ? "" : `version ${side.version}`, SEEN[side.seen_by]].filter(Boolean).join(", "));
  const items = [["live", side.live], ["finished", side.finished], ["started", side.started], ["with incidents", side.incidents]];
  keyed(counts, items, ([name]) => name, ([name]) => h("div", {}, h("dt", {}, name), h("dd")), (pair, [name, value]) => {
    say(pair.lastChild, number(value));
    set(pair, "class", value === null ? "unknown" : name === "with incidents" && value ? "bad" : null);
  });
  const all = (side.live ?? 0) + (side.finished ?? 0);
  const share = (value) => `${all ? (100 * value) / all : 0}%`;
  const stuck = Math.min(side.incidents ?? 0, side.live ?? 0);
  bar.children[0].style.width = share(side.finished ?? 0);
  bar.children[1].style.width = share((side.live ?? 0) - stuck);
  bar.children[2].style.width = share(stuck);
}

class Instances extends Part {
  begin() {
    this.filters = Object.fromEntries(["process", "engine", "state"].map((name) => [name, h("select", { id: `by-${name}`, onchange: () => this.look() })]));
    this.filters.state.append(...["", "active", "completed", "cancelled"].map((one) => h("option", { value: one }, one || "every state")));
    const fields = Object.entries(this.filters).map(([name, select]) => h("div", {}, h("label", { for: `by-${name}` }, name), select));
    this.table = table("Instances", ["Process", "Instance", "Engine", "State", "Business key", "Started"]);
    this.note = h("p", { class: "empty" });
    this.append(h("h3", {}, "Instances"), h("div", { class: "filters" }, ...fields), this.table.element, this.note);
    this.told = null;
    watched.addEventListener("progress", () => this.look());
    follow(this, "engines");
  }

  async look() {
    const query = new URLSearchParams({ limit: 50 });
    for (const [name, select] of Object.entries(this.filters)) if (select.value) query.set(name, select.value);
    try {
      this.told = await ask(`/v1/instances?${query}`);
      this.failed = "";
    } catch (refused) {
      this.failed = refused.message;
    }
    this.redraw();
  }

  #options(select, names, all) {
    keyed(select, ["", ...names], (one) => one, (one) => h("option", { value: one }, one || all), () => {});
  }

  draw() {
    this.#options(this.filters.process, (watched.progress?.processes ?? []).map((one) => one.process), "every process");
    this.#options(this.filters.engine, [...store.engines.keys()], "every engine");
    const items = this.told?.items ?? [];
    const unknown = Object.keys(this.told?.unknown ?? {});
    const notes = [
      this.failed,
      !this.told ? "Not asked yet." : !items.length && !unknown.length ? "There is none." : "",
      this.told?.more ? "There are more; these are the newest." : "",
      unknown.length ? `Unknown on ${unknown.join(", ")}.` : "",
    ].filter(Boolean);
    this.note.hidden = !notes.length;
    say(this.note, notes.join(" "));
    this.table.element.hidden = !items.length;
    keyed(this.table.body, items, (one) => `${one.engine}:${one.id}`, () => {
      const row = this.table.row();
      row.children[3].append(h("span"));
      return row;
    }, (row, one) => {
      const cells = row.children;
      say(cells[0], one.process);
      say(cells[1], short(one.id));
      cells[1].title = one.id;
      say(cells[2], one.engine);
      set(cells[3].firstChild, "class", `badge ${one.state}`);
      say(cells[3].firstChild, one.state);
      say(cells[4], one.business_key ?? "none");
      say(cells[5], ago(one.started_ms));
    });
  }
}

class Incidents extends Part {
  begin() {
    this.table = table("Incidents", ["Process", "Where", "What", "Engine", "Since", "Action"]);
    this.note = h("p", { class: "empty" });
    this.append(this.table.element, this.note);
    watched.addEventListener("incidents", () => this.redraw());
  }

  draw() {
    const told = watched.incidents;
    const items = told?.items ?? [];
    const unknown = Object.keys(told?.unknown ?? {});
    const notes = [
      told ? "" : (watched.failed.incidents?.message ?? "Not asked yet."),
      told && !items.length && !unknown.length ? "None. Everything goes on." : "",
      unknown.length ? `Unknown on ${unknown.join(", ")}.` : "",
      told?.more ? "There are more; these are the newest." : "",
    ].filter(Boolean);
    this.note.hidden = !notes.length;
    say(this.note, notes.join(" "));
    this.table.element.hidden = !items.length;
    keyed(this.table.body, items, (one) => `${one.engine}:${one.id}`, (one) => this.#row(one), (row, one) => {
      const cells = row.children;
      say(cells[0], one.process ?? "unknown");
      say(cells[1], one.element ?? "unknown");
      say(cells[2], one.message ?? one.kind);
      say(cells[3], one.engine);
      say(cells[4], ago(one.at_ms));
    });
  }

  #row(one) {
    const row = this.table.row();
    const retry = h("button", { type: "button", "aria-label": `Try ${one.element ?? one.id} of ${one.process ?? "unknown"} again`, onclick: () => this.#retry(one, retry) }, "Retry");
    row.children[5].append(retry);
    return row;
  }

  async #retry(one, button) {
    button.disabled = true;
    try {
      await ask(`/v1/incidents/${encodeURIComponent(`${one.engine}:${one.id}`)}/resolution`, { method: "POST" });
      notice(`${one.engine} tries ${one.element ?? "it"} again.`);
    } catch (refused) {
      notice(refused.message, "bad");
      button.disabled = false;
    }
    await watched.look("incidents", "/v1/incidents");
  }
}

customElements.define("gs-processes", Processes);
customElements.define("gs-instances", Instances);
customElements.define("gs-incidents", Incidents);
