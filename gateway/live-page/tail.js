// <gossamer-live-tail>: every event as it happens, the newest first. It stands still while somebody reads further down
// or has paused it, and says how many have come meanwhile. What it shows at a time is bounded.
//
//   <gossamer-live-tail gateway workflow kinds="attempt.*,run.failed" rows="300" run-href="#/run/{run}">

import { clock, moment } from "./forms.js";
import { define, h, keyed, Part, plural, say, sentence, set } from "./part.js";
import { words } from "./words.js";

const ROWS = 300;
const ROWS_MAX = 2000;

const GROUPS = [
  ["Everything", () => true],
  ["Runs", (kind) => kind.startsWith("run.")],
  ["Steps", (kind) => !kind.startsWith("run.")],
  ["Trouble", (kind) => TROUBLE.has(kind)],
];
const TROUBLE = new Set(["attempt.failed", "attempt.late", "retry.scheduled", "step.failover", "step.failed", "run.failed", "run.cancelled"]);

const LOOKS = `
.list { position: relative; }
button[data-paused] { background: var(--idle); border-color: var(--ink); }
ol { max-height: var(--gossamer-tail-height, 420px); overflow-y: auto; overscroll-behavior: contain; border-top: 1px solid var(--line); scrollbar-width: thin; font-size: 13.5px; }
li { display: grid; grid-template-columns: 96px 116px minmax(90px, 190px) minmax(0, 1fr); gap: 4px 12px; align-items: baseline; padding: 5px 2px; border-bottom: 1px solid color-mix(in srgb, var(--line) 60%, transparent); }
li > .badge { justify-self: start; }
li.new { animation: appear 0.25s; }
time { color: var(--soft); font-size: 12.5px; white-space: nowrap; }
.of { display: flex; gap: 8px; min-width: 0; align-items: baseline; }
.of b { font-weight: 600; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.what { color: var(--soft); }
.what bdi:first-child { color: var(--ink); }
.held { position: absolute; inset: 10px 0 auto; display: grid; place-items: center; pointer-events: none; }
.held button { pointer-events: auto; border-radius: 99px; box-shadow: var(--shadow); }
@container (max-width: 720px) {
  li { grid-template-columns: auto minmax(0, 1fr) auto; }
  .of { grid-column: 1 / 3; grid-row: 2; }
  .what { grid-column: 1 / -1; }
  li time { grid-column: 3; grid-row: 1; }
  li > .badge { grid-column: 1 / 3; grid-row: 1; }
  .of { grid-column: 1 / -1; }
}
`;

class LiveTail extends Part {
  static observedAttributes = ["gateway", "workflow", "run", "kinds", "rows"];
  #paused = false;
  #held = null; // the last number that is shown while it stands still
  #still = []; // what was there then: it stays, however much comes
  #group = 0;
  #text = "";
  #shownTo = 0;

  need() {
    const kinds = (this.getAttribute("kinds") ?? "").split(",").map((one) => one.trim()).filter(Boolean);
    this.kinds = kinds.map((glob) => new RegExp(`^${glob.replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(/\*/g, ".*").replace(/\?/g, ".")}$`));
    return { workflow: this.getAttribute("workflow"), run: this.getAttribute("run"), kinds };
  }

  make() {
    this.mark = this.link();
    this.groups = h(
      "select", { "aria-label": "Which events", onchange: (event) => this.filter({ group: event.target.selectedIndex }) },
      ...GROUPS.map(([name]) => h("option", {}, name)),
    );
    this.search = h("input", { type: "search", placeholder: "workflow, run or step", "aria-label": "Only events with this text", oninput: (event) => this.filter({ text: event.target.value }) });
    this.pause = h("button", { type: "button", class: "plain", onclick: () => this.toggle() }, "Pause");
    this.list = h("ol", { tabindex: "0", "aria-label": "Events, the newest first", onscroll: () => this.scrolled() });
    this.jump = h("button", { type: "button", onclick: () => this.newest() });
    this.held = h("div", { class: "held" }, this.jump);
    this.empty = h("p", { class: "empty" });
    this.root.append(
      h(
        "section", { class: "card", "aria-label": "Live tail" },
        h("header", {}, h("h2", {}, "Live tail"), this.mark.element, h("span", { class: "grow" }), h("div", { class: "filters" }, this.search, this.groups, this.pause)),
        h("div", { class: "list" }, this.list, this.held),
        this.empty,
      ),
    );
  }

  filter({ group = this.#group, text = this.#text }) {
    this.#group = group;
    this.#text = text.trim().toLowerCase();
    this.redraw();
  }

  toggle() {
    this.#paused = !this.#paused;
    if (!this.#paused && this.list.scrollTop <= 8) this.#held = null;
    else this.hold(this.store.told);
    this.redraw();
  }

  scrolled() {
    if (this.list.scrollTop > 8) {
      if (this.#held === null) this.hold(this.#shownTo);
    } else if (!this.#paused) this.#held = null;
    this.redraw();
  }

  hold(number) {
    this.#held = number;
    this.#still = this.store.tail.filter((one) => one.number <= number);
  }

  newest() {
    this.#paused = false;
    this.#held = null;
    this.list.scrollTop = 0;
    this.list.focus({ preventScroll: true });
    this.redraw();
  }

  passes(one) {
    const { event, workflow } = one;
    const only = this.getAttribute("workflow");
    const run = this.getAttribute("run");
    if ((only && workflow !== only) || (run && event.run !== run)) return false;
    if (this.kinds.length && !this.kinds.some((one) => one.test(event.kind))) return false;
    if (!GROUPS[this.#group][1](event.kind)) return false;
    if (!this.#text) return true;
    one.searched ??= `${workflow} ${event.run} ${event.kind} ${words(event)[2]}`.toLowerCase();
    return one.searched.includes(this.#text);
  }

  draw() {
    this.mark.draw();
    const max = Math.min(ROWS_MAX, Math.max(10, Number(this.getAttribute("rows")) || ROWS));
    const shown = [];
    const { tail } = this.store;
    const from = this.#held === null ? tail : this.#still;
    for (let index = from.length - 1; index >= 0 && shown.length < max; index -= 1) {
      if (this.passes(from[index])) shown.push(from[index]);
    }
    const newer = this.#held === null ? [] : tail.filter((one) => one.number > this.#held && this.passes(one));
    const lost = this.#held !== null && tail.length > 0 && tail[0].number > this.#held + 1;
    if (this.#held === null) this.#still = [];
    const before = this.#shownTo;
    if (this.#held === null) this.#shownTo = this.store.told;
    keyed(
      this.list, shown, (one) => one.number,
      (one) => {
        const [word, colour, told, parts] = words(one.event);
        return h(
          "li", { class: before && one.number > before ? "new" : null },
          h("time", { datetime: new Date(one.event.atMs).toISOString(), title: moment(one.event.atMs) }, clock(one.event.atMs)),
          h("span", { class: `badge ${colour === "busy" ? "" : colour}`, title: one.event.kind }, word),
          h("span", { class: "of" }, h("b", { title: one.workflow, dir: "auto" }, one.workflow || "?"), this.runLink(one.event.run)),
          h("span", { class: "what lines-2", title: told }, ...sentence(parts)),
        );
      },
      () => {},
    );
    set(this.pause, "data-paused", this.#paused);
    say(this.pause, this.#paused ? "Go on" : "Pause");
    this.held.hidden = newer.length === 0;
    say(this.jump, `${lost ? "more than " : ""}${plural(newer.length, "newer event")} ↑`);
    this.list.hidden = shown.length === 0;
    this.empty.hidden = shown.length > 0;
    const filtered = this.#text || this.#group || this.kinds.length;
    say(this.empty, filtered && tail.length ? "Nothing of late that passes these filters." : "Nothing has happened since this page was opened. What does is written here.");
  }
}

define("gossamer-live-tail", LiveTail, LOOKS);
