// <gossamer-runs>: runs, the newest first, each as far as its events have it. What was triggered in this page is there
// at once; older ones come over HTTP, a page at a time.
//
//   <gossamer-runs gateway workflow rows="25" run-href="#/run/{run}">

import { clock, lasted } from "./forms.js";
import { define, h, keyed, Part, plural, say, set, showStatus, statusBadge } from "./part.js";
import { hasEnded } from "./projection.js";

const ROWS = 25;
const SHOWN_MAX = 500;
const PIPS_MAX = 24;
const STATUSES = ["Pending", "Running", "Completed", "Failed", "Cancelled"];

const LOOKS = `
table { width: 100%; border-collapse: collapse; font-size: 14px; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: 13px; padding: 2px 14px 7px 0; }
td { padding: 8px 14px 8px 0; border-top: 1px solid var(--line); vertical-align: middle; }
td:last-child, th:last-child { padding-right: 0; }
tbody tr:hover { background: color-mix(in srgb, var(--idle) 40%, transparent); }
tr[data-pending] td { color: var(--soft); }
tr[data-pending] { background: color-mix(in srgb, var(--busy-back) 45%, transparent); }
td.num, th.num { text-align: right; white-space: nowrap; }
.workflow { font-weight: 600; }
.steps { display: flex; align-items: center; gap: 3px; min-width: 0; }
.steps i { flex: none; width: 14px; height: 8px; border-radius: 3px; background: var(--idle); transition: background 0.3s; }
.steps i.Completed { background: var(--good); }
.steps i.Running { background: var(--busy); animation: breathe 1.4s ease-in-out infinite; }
.steps i.Waiting { background: var(--warn); }
.steps i.Failed { background: var(--bad); }
.steps i.Left { background: var(--idle-ink); opacity: 0.4; }
.steps small { margin-left: 6px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.more { display: flex; justify-content: center; gap: 12px; padding-top: 12px; align-items: center; }
@container (max-width: 720px) {
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table, tbody { display: block; }
  tr { display: grid; grid-template-columns: 1fr auto; gap: 2px 14px; padding: 9px 0; border-top: 1px solid var(--line); }
  td { display: block; padding: 0; border: 0; min-width: 0; }
  td:nth-child(1) { grid-area: 1 / 1; }
  td:nth-child(3) { grid-area: 1 / 2; }
  td:nth-child(2) { grid-area: 2 / 1; }
  td:nth-child(6) { grid-area: 2 / 2; }
  td:nth-child(4) { grid-area: 3 / 1; }
  td:nth-child(5) { grid-area: 3 / 2; font-size: 12.5px; color: var(--soft); }
  td:nth-child(5)::before { content: none; }
}
`;

const HEADS = ["Workflow", "Run", "Status", "Steps", "Started", "Took"];

class Runs extends Part {
  static observedAttributes = ["gateway", "workflow", "rows"];
  #next = "";
  #loading = false;
  #said = "";
  #count = 0;

  need() {
    return { workflow: this.getAttribute("workflow") };
  }

  make() {
    this.mark = this.link();
    this.status = h("select", { "aria-label": "Status", onchange: () => this.changed() }, h("option", { value: "" }, "Every status"), ...STATUSES.map((one) => h("option", {}, one)));
    this.workflow = h("input", { type: "search", placeholder: "workflow", "aria-label": "Workflow", size: "14", onchange: () => this.changed(), oninput: () => this.redraw() });
    this.body = h("tbody");
    this.table = h(
      "table", {}, h("caption", { class: "unseen" }, "Runs, the newest first"),
      h("thead", {}, h("tr", {}, ...HEADS.map((one, index) => h("th", { scope: "col", class: index > 3 ? "num" : null }, one)))), this.body,
    );
    this.counts = h("small");
    this.empty = h("p", { class: "empty" });
    this.older = h("button", { type: "button", class: "plain", onclick: () => this.load() }, "Older runs");
    this.told = h("small", { role: "status" });
    this.root.append(
      h(
        "section", { class: "card", "aria-label": "Runs" },
        h("header", {}, h("h2", {}, "Runs"), this.mark.element, this.counts, h("span", { class: "grow" }), h("div", { class: "filters" }, this.workflow, this.status)),
        this.table, this.empty, h("div", { class: "more" }, this.older, this.told),
      ),
    );
  }

  started() {
    this.workflow.hidden = this.hasAttribute("workflow");
    this.hear(this.store, "lost", () => this.changed());
    this.changed();
  }

  /** Asks for all anew, as when somebody has signed in. */
  refresh() {
    this.changed();
  }

  get rows() {
    return Math.min(SHOWN_MAX, Math.max(5, Number(this.getAttribute("rows")) || ROWS));
  }

  wanted() {
    return { workflow: this.getAttribute("workflow") ?? this.workflow.value.trim(), status: this.status.value };
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
    const passes = (one) => (!workflow || one.workflow === workflow) && (!status || one.status === status);
    const known = [...this.store.runs.values(), ...this.store.listed.values()].filter(passes);
    known.sort((a, b) => b.triggeredMs - a.triggeredMs || (a.id < b.id ? 1 : -1));
    const ids = new Set(this.store.runs.keys());
    const pending = [...this.store.pending.values()]
      .filter((one) => (!workflow || one.workflow === workflow) && (!status || status === "Pending") && !ids.has(one.run))
      .map((one) => ({ id: one.run ?? "", key: one.key, workflow: one.workflow, status: "Pending", pending: one, triggeredMs: one.atMs, endedMs: null, steps: {} }))
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
    say(this.empty, this.#loading ? "Looking for runs…" : "No run yet that passes. One that starts is here at once.");
    const open = all.filter((one) => !hasEnded(one.status)).length;
    const failed = all.filter((one) => one.status === "Failed").length;
    say(this.counts, all.length ? [`${open} open`, failed && `${failed} failed`].filter(Boolean).join(" · ") : "");
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
      workflow: h("span", { class: "workflow" }), run: h("td"), status: statusBadge(one.status),
      steps: h("span", { class: "steps" }), word: h("small"), pips: h("span", { class: "steps" }), began: h("td", { class: "num" }), took: h("td", { class: "num" }),
    };
    const row = h("tr", {}, h("td", {}, parts.workflow), parts.run, h("td", {}, parts.status), h("td", {}, h("span", { class: "steps" }, parts.pips, parts.word)), parts.began, parts.took);
    row.parts = parts;
    return row;
  }

  fill(row, one, now) {
    const { parts } = row;
    set(row, "data-pending", Boolean(one.pending));
    set(row, "data-run", one.id || null);
    say(parts.workflow, one.workflow);
    if (row.run !== one.id) {
      row.run = one.id;
      parts.run.replaceChildren(one.id ? this.runLink(one.id) : "…");
    }
    if (one.pending) {
      set(parts.status, "class", "badge busy");
      say(parts.status, { sending: "sending", accepted: "accepted", unsure: "asking again" }[one.pending.status] ?? one.pending.status);
    } else {
      showStatus(parts.status, one.status);
    }
    const steps = Object.entries(one.steps ?? {});
    keyed(parts.pips, steps.slice(-PIPS_MAX), ([id]) => id, () => h("i"), (pip, [id, state]) => {
      set(pip, "class", state.status);
      set(pip, "title", `${id}: ${state.status}`);
    });
    say(parts.word, word(one, steps));
    say(parts.began, clock(one.triggeredMs, { millis: false }));
    say(parts.took, one.pending ? "" : lasted((one.endedMs ?? now) - one.triggeredMs));
  }
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
