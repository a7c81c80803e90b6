// <gossamer-runs>: runs, the newest first, each as far as its events have it. What was triggered in this page is there
// at once; older ones come over HTTP, a page at a time.
//
//   <gossamer-runs gateway workflow rows="25" run-href="#/run/{run}">

import { clock, lasted, moment } from "./forms.js";
import { define, h, keyed, Part, plural, say, set, showStatus, statusBadge } from "./part.js";
import { hasEnded } from "./projection.js";

const ROWS = 25;
const SHOWN_MAX = 500;
const PIPS_MAX = 24;
const TYPING_MS = 250;
const STATUSES = ["Pending", "Running", "Completed", "Failed", "Cancelled"];

const LOOKS = `
table { width: 100%; border-collapse: collapse; table-layout: fixed; font-size: 14px; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: 13px; padding: 2px 14px 7px 0; }
th:nth-child(1) { width: 22%; } th:nth-child(2) { width: 104px; } th:nth-child(3) { width: 138px; } th:nth-child(5) { width: 92px; } th:nth-child(6) { width: 96px; }
td { padding: 8px 14px 8px 0; border-top: 1px solid var(--line); vertical-align: middle; }
td:first-child { padding-left: 8px; } th:first-child { padding-left: 8px; }
td:last-child, th:last-child { padding-right: 8px; }
tbody tr { cursor: pointer; }
tbody tr:hover { background: color-mix(in srgb, var(--idle) 40%, transparent); }
tr[data-pending] { cursor: default; background: color-mix(in srgb, var(--busy-back) 45%, transparent); }
td.num, th.num { text-align: right; white-space: nowrap; }
.name { font-weight: 600; line-height: 1.35; }
.steps { display: flex; align-items: center; gap: 4px 10px; min-width: 0; }
.pips { display: flex; align-items: center; flex: 0 1 auto; gap: 3px; min-width: 0; max-width: 62%; }
.pips:empty { display: none; }
.pips i { flex: 0 1 auto; width: 14px; min-width: 3px; height: 8px; border-radius: 3px; background: var(--idle); transition: background 0.3s; }
.pips i.Completed { background: var(--good); }
.pips i.Running { background: var(--busy); animation: breathe 1.4s ease-in-out infinite; }
.pips i.Waiting { background: none; border: 2px solid var(--warn); }
.pips i.Failed { background: var(--bad); height: 16px; }
.pips i.Left { background: var(--idle-ink); height: 3px; }
.steps small { flex: 1 1 0; min-width: 0; line-height: 1.3; }
.more { display: flex; flex-wrap: wrap; justify-content: center; gap: 6px 12px; padding-top: 12px; align-items: center; }
.more:not(:has(> :not([hidden], :empty))) { display: none; }
@container (max-width: 720px) {
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table, tbody { display: block; }
  tr { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 3px 14px; padding: 10px 0; border-top: 1px solid var(--line); }
  td, td:first-child, td:last-child { display: block; padding: 0; border: 0; min-width: 0; }
  td:nth-child(1) { grid-area: 1 / 1; }
  td:nth-child(3) { grid-area: 1 / 2; justify-self: end; }
  td:nth-child(2) { grid-area: 2 / 1; }
  td:nth-child(6) { grid-area: 2 / 2; }
  td:nth-child(4) { grid-area: 3 / 1; }
  td:nth-child(5) { grid-area: 3 / 2; font-size: 12.5px; color: var(--soft); }
  .filters { flex: 1 1 100%; }
  .filters > * { flex: 1 1 0; }
}
@media (forced-colors: active) {
  .pips i { forced-color-adjust: none; border: 1px solid CanvasText; }
}
`;

const HEADS = ["Workflow", "Run", "Status", "Steps", "Started", "Took"];

class Runs extends Part {
  static observedAttributes = ["gateway", "workflow", "rows"];
  #next = "";
  #loading = false;
  #said = "";
  #count = 0;
  #typing = null;
  #known = new Set();

  need() {
    return { workflow: this.getAttribute("workflow") };
  }

  make() {
    this.mark = this.link();
    this.status = h("select", { "aria-label": "Status", onchange: () => this.changed() }, h("option", { value: "" }, "Every status"), ...STATUSES.map((one) => h("option", {}, one)));
    this.names = h("datalist", { id: "names" });
    this.workflow = h("input", { type: "search", placeholder: "Every workflow", "aria-label": "Workflow, or a part of its id", list: "names", size: "16", spellcheck: "false", onfocus: () => this.know(), oninput: () => this.typed() });
    this.body = h("tbody", { role: "rowgroup" });
    // The roles are told, since a table that is laid out as cards is none to some browsers.
    this.table = h(
      "table", { role: "table" }, h("caption", { class: "unseen" }, "Runs, the newest first"),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...HEADS.map((one, index) => h("th", { scope: "col", role: "columnheader", class: index > 3 ? "num" : null }, one)))), this.body,
    );
    this.counts = h("small");
    this.empty = h("p", { class: "empty" });
    this.older = h("button", { type: "button", class: "plain", onclick: () => this.load() }, "Older runs");
    this.told = h("small", { role: "status" });
    this.root.append(
      h(
        "section", { class: "card", "aria-label": "Runs" },
        h("header", {}, h("h2", {}, "Runs"), this.mark.element, this.counts, h("span", { class: "grow" }), h("div", { class: "filters" }, this.workflow, this.names, this.status)),
        this.table, this.empty, h("div", { class: "more" }, this.older, this.told),
      ),
    );
  }

  started() {
    this.workflow.hidden = this.hasAttribute("workflow");
    this.hear(this.store, "lost", () => this.changed());
    this.ends(() => clearTimeout(this.#typing));
    this.changed();
  }

  /** Asks for all anew, as when somebody has signed in. */
  refresh() {
    this.changed();
  }

  get rows() {
    return Math.min(SHOWN_MAX, Math.max(5, Number(this.getAttribute("rows")) || ROWS));
  }

  /** What is typed narrows what is here; the gateway is asked for a workflow once it is one. */
  get text() {
    return this.hasAttribute("workflow") ? "" : this.workflow.value.trim().toLowerCase();
  }

  wanted() {
    const typed = this.workflow.value.trim();
    return { workflow: this.getAttribute("workflow") ?? (this.#known.has(typed) ? typed : ""), status: this.status.value };
  }

  typed() {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.changed(), TYPING_MS);
    this.redraw();
  }

  /** Which workflows there are, to choose from. */
  async know() {
    for (const one of this.store.runs.values()) this.#known.add(one.workflow);
    try {
      for (const one of await this.store.workflows()) this.#known.add(one.id);
    } catch {
      // those that have been seen are to choose from all the same
    }
    const names = [...this.#known].sort();
    if (names.length !== this.names.childElementCount) this.names.replaceChildren(...names.map((one) => h("option", { value: one })));
  }

  /** Other filters: the list is asked for anew. */
  changed() {
    this.#next = "";
    this.#count = this.rows;
    this.load();
    this.redraw();
  }

  async load() {
    if (this.#loading) return;
    this.#loading = true;
    const after = this.#next;
    const wanted = this.wanted();
    this.#said = "";
    try {
      const next = await this.store.list({ ...wanted, after, limit: this.rows });
      if (JSON.stringify(wanted) !== JSON.stringify(this.wanted())) this.#next = "";
      else this.#next = next;
      if (after) this.#count = Math.min(SHOWN_MAX, this.#count + this.rows);
    } catch (refused) {
      // What happens from now on comes over the connection all the same.
      this.#said = refused.status === 401 ? "" : `Older runs cannot be had: ${refused.message}`;
    } finally {
      this.#loading = false;
      this.redraw();
    }
    if (JSON.stringify(wanted) !== JSON.stringify(this.wanted())) this.changed();
  }

  /** All that pass, the newest first; what is pending before them. */
  collect() {
    const { workflow, status } = this.wanted();
    const { text } = this;
    const passes = (one) => (workflow ? one.workflow === workflow : !text || one.workflow.toLowerCase().includes(text)) && (!status || one.status === status);
    const known = [...this.store.runs.values(), ...this.store.listed.values()].filter(passes);
    known.sort((a, b) => b.triggeredMs - a.triggeredMs || (a.id < b.id ? 1 : -1));
    const pending = [...this.store.pending.values()]
      .map((one) => ({ id: one.run ?? "", key: one.key, workflow: one.workflow, status: "Pending", pending: one, triggeredMs: one.atMs, endedMs: null, steps: {} }))
      .filter((one) => passes(one) && !this.store.runs.has(one.id))
      .reverse();
    return [...pending, ...known];
  }

  draw() {
    this.mark.draw();
    const all = this.collect();
    const shown = all.slice(0, this.#count);
    const now = this.store.now();
    keyed(
      this.body, shown,
      // A run that was triggered here keeps its row when it is confirmed.
      (one) => (one.key && this.ours(one) ? `key ${one.key}` : one.id),
      (one) => this.row(one),
      (row, one) => this.fill(row, one, now),
    );
    this.table.hidden = !shown.length;
    this.empty.hidden = shown.length > 0;
    say(this.empty, this.#loading ? "Looking for runs…" : this.text || this.status.value ? "No run passes these filters." : "No run yet. One that starts is here at once.");
    const open = all.filter((one) => !hasEnded(one.status)).length;
    const failed = all.filter((one) => one.status === "Failed").length;
    say(this.counts, all.length ? [`${plural(all.length, "run")} here`, `${open} open`, failed && `${failed} failed`].filter(Boolean).join(" · ") : "");
    this.older.hidden = this.#next === null || this.#next === "" || this.#count >= SHOWN_MAX;
    this.older.disabled = this.#loading;
    say(this.told, this.#said || (this.#count >= SHOWN_MAX ? `These are ${plural(SHOWN_MAX, "run")}; a filter finds others.` : ""));
    if (shown.some((one) => !hasEnded(one.status))) this.again(1000);
  }

  ours(one) {
    this.keys ??= new Set();
    if (one.pending) this.keys.add(one.key);
    return this.keys.has(one.key);
  }

  row(one) {
    const parts = {
      workflow: h("span", { class: "name lines-2", dir: "auto" }), run: h("td", { role: "cell" }), status: statusBadge(one.status), word: h("small", { class: "lines-2", dir: "auto" }),
      pips: h("span", { class: "pips", role: "img" }), began: h("time"), took: h("td", { role: "cell", class: "num" }),
    };
    const cell = (attributes, ...children) => h("td", { role: "cell", ...attributes }, ...children);
    const row = h(
      "tr", { role: "row", onclick: (event) => this.pressed(event, row) },
      cell({}, parts.workflow), parts.run, cell({}, parts.status), cell({}, h("span", { class: "steps" }, parts.pips, parts.word)), cell({ class: "num" }, parts.began), parts.took,
    );
    row.parts = parts;
    return row;
  }

  /** The whole line is the link, for who has a mouse and does not mark text. */
  pressed(event, row) {
    if (event.target.closest("a, button") || !getSelection().isCollapsed) return;
    row.querySelector(".run")?.click();
  }

  fill(row, one, now) {
    const { parts } = row;
    set(row, "data-pending", Boolean(one.pending));
    set(row, "data-run", one.id || null);
    say(parts.workflow, one.workflow);
    set(parts.workflow, "title", one.workflow);
    if (row.run !== one.id) {
      row.run = one.id;
      parts.run.replaceChildren(one.id ? this.runLink(one.id) : "…");
    }
    if (one.pending) {
      set(parts.status, "class", "badge busy");
      set(parts.status, "data-status", null);
      say(parts.status, { sending: "sending", accepted: "accepted", unsure: "asking again" }[one.pending.status] ?? one.pending.status);
    } else {
      showStatus(parts.status, one.status);
    }
    const steps = Object.entries(one.steps ?? {});
    keyed(parts.pips, steps.slice(-PIPS_MAX), ([id]) => id, () => h("i"), (pip, [id, state]) => {
      set(pip, "class", state.status);
      set(pip, "title", `${id}: ${state.status}`);
    });
    set(parts.pips, "aria-label", counted(steps));
    say(parts.word, word(one, steps));
    set(parts.word, "title", parts.word.textContent);
    say(parts.began, clock(one.triggeredMs, { millis: false }));
    set(parts.began, "datetime", new Date(one.triggeredMs).toISOString());
    set(parts.began, "title", moment(one.triggeredMs));
    say(parts.took, one.pending ? "" : lasted((one.endedMs ?? now) - one.triggeredMs));
  }
}

/** How many steps are in which status, as a sentence for who does not see them. */
function counted(steps) {
  const counts = new Map();
  for (const [, { status }] of steps) counts.set(status, (counts.get(status) ?? 0) + 1);
  return [...counts].map(([status, count]) => `${count} ${status}`).join(", ") || null;
}

/** Where a run is, in few words. */
function word(one, steps) {
  if (one.pending) return one.pending.detail;
  if (one.steps === null) return "";
  const open = steps.filter(([, state]) => state.status === "Running" || state.status === "Waiting");
  if (open.length) return open.map(([id, state]) => (state.attempt > 1 ? `${id} (attempt ${state.attempt})` : id)).join(", ");
  if (one.status === "Failed") return one.failure?.code ?? "";
  return steps.length ? plural(steps.length, "step") : "";
}

define("gossamer-runs", Runs, LOOKS);
