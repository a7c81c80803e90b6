// <gossamer-run>: one run as a picture of time. Each step has a line, each attempt a bar in it, with the pauses before
// retries, moves between providers and answers that came too late. A line opens to all that is
// known of its step. The same is there in sentences for who cannot see it.
//
//   <gossamer-run gateway run="ID">

import { ATTEMPTS_MAX, attempts, details, hint, OUTCOMES, short, story } from "./attempts.js";
import { clock, lasted, moment, plain } from "./forms.js";
import { define, h, keyed, Part, plural, say, sentence, set, showStatus, statusBadge } from "./part.js";
import { payload } from "./payload.js";
import { hasEnded } from "./projection.js";
import { arranged, ticks, timeline } from "./timeline.js";
import { words } from "./words.js";

const HISTORY_MAX = 1000;
const GROWS_MS = 200;
const GROWS_STILL_MS = 1000;
const NOTICES_MS = 10000;

const LOOKS = `
header { align-items: center; }
h2 { font-size: 21px; }
.facts { display: flex; flex-wrap: wrap; gap: 2px 22px; margin: -4px 0 14px; font-size: 13.5px; }
.facts > div { display: flex; gap: 7px; }
.facts dt { color: var(--soft); white-space: nowrap; }
.note { margin-bottom: 14px; }
.note strong { font-weight: 650; }
.axis, .row { display: grid; grid-template-columns: minmax(130px, 25%) minmax(0, 1fr) 84px; gap: 14px; align-items: center; }
.axis { color: var(--soft); font-size: 12px; border-bottom: 1px solid var(--line); padding-bottom: 3px; }
.axis .ticks { position: relative; height: 17px; }
.axis .ticks span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.axis .ticks span:first-child { transform: none; }
.steps > li { border-bottom: 1px solid color-mix(in srgb, var(--line) 60%, transparent); }
.row { width: 100%; min-height: 46px; padding: 5px 0; border: 0; border-radius: 8px; background: none; color: inherit; font: inherit; font-weight: 400; text-align: left; white-space: normal; }
.row:hover { background: color-mix(in srgb, var(--idle) 45%, transparent); }
.name { display: flex; align-items: center; gap: 8px; min-width: 0; }
.rails { display: flex; align-self: stretch; margin: -5px 0; gap: 5px; padding-left: 4px; }
.rails:empty { display: none; }
.rails i { width: 4px; border-radius: 2px; }
.lane-0 { background: var(--accent); } .lane-1 { background: var(--move); } .lane-2 { background: var(--warn); } .lane-3 { background: #d6457b; } .lane-4 { background: var(--busy); }
.mark { flex: none; display: grid; place-items: center; width: 20px; height: 20px; border-radius: 50%; font-size: 12px; font-weight: 700; line-height: 1; background: var(--idle); color: var(--idle-ink); }
.mark.Completed { background: var(--good-back); color: var(--good); }
.mark.Failed { background: var(--bad-back); color: var(--bad); }
.mark.Running { background: var(--busy-back); color: var(--busy); }
.mark.Waiting { background: var(--warn-back); color: var(--warn); }
.id { font-weight: 600; min-width: 0; line-height: 1.3; }
.id small { display: block; font-weight: 400; }
.id small:empty { display: none; }
.id .notice { color: var(--warn); }
.steps > li { position: relative; }
.track { position: relative; height: 30px; background-image: linear-gradient(var(--line), var(--line)); background-size: 100% 1px; background-position: center; background-repeat: no-repeat; }
.track > * { position: absolute; }
.grid { top: -9px; bottom: -9px; width: 1px; background: color-mix(in srgb, var(--line) 70%, transparent); }
.track .bar, .legend .bar { top: 4px; height: 22px; min-width: 4px; border-radius: 6px; padding: 0 6px; overflow: hidden; white-space: nowrap; font-size: 12px; line-height: 22px; font-weight: 600; background: var(--busy-back); color: var(--busy); box-shadow: inset 0 0 0 1px color-mix(in srgb, currentcolor 40%, transparent); }
.track .bar.small, .legend .bar.small { padding: 0; }
.track .bar.completed, .legend .bar.completed { background: var(--good-back); color: var(--good); }
.track .bar.failed, .legend .bar.failed { background: var(--bad-back); color: var(--bad); }
.track .bar.timeout, .legend .bar.timeout { color: var(--bad); background: repeating-linear-gradient(-45deg, var(--bad-back) 0 6px, var(--card) 6px 10px); }
.track .bar.left, .legend .bar.left { background: var(--idle); color: var(--idle-ink); }
.track .bar.running, .legend .bar.running { background: var(--busy-back); border-right: 3px solid var(--busy); animation: pulse 1.6s ease-in-out infinite; }
@keyframes pulse { 50% { opacity: 0.65; } }
.track .pause, .legend .pause { top: 14px; height: 2px; background: repeating-linear-gradient(90deg, var(--warn) 0 5px, transparent 5px 9px); }
.track .pause span { position: absolute; left: 50%; bottom: 2px; transform: translateX(-50%); font-size: 11px; line-height: 1; color: var(--warn); white-space: nowrap; }
.track .move, .legend .move { top: -4px; width: 12px; height: 12px; margin-left: -6px; border-radius: 3px; rotate: 45deg; background: var(--move); border: 2px solid var(--card); }
.track .late, .legend .late { top: -3px; margin-left: -7px; width: 14px; font-size: 13px; line-height: 1; text-align: center; color: var(--warn); }
.track .point, .legend .point { top: 9px; width: 12px; height: 12px; margin-left: -6px; border-radius: 50%; background: var(--move-back); border: 2px solid var(--move); }
.track .point.Failed, .legend .point.Failed { background: var(--bad-back); border-color: var(--bad); }
.took { text-align: right; font-size: 13px; color: var(--soft); white-space: nowrap; }
.inside { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 14px; padding: 6px 0 18px; }
li > .inside { padding-left: 28px; }
.inside > * { min-width: 0; }
.wide { grid-column: 1 / -1; }
pre { margin: 0; padding: 10px 12px; max-height: 260px; overflow: auto; border-radius: 10px; background: var(--paper); border: 1px solid var(--line); white-space: pre-wrap; }
.attempts { width: 100%; border-collapse: collapse; table-layout: fixed; font-size: 13.5px; }
.attempts th:nth-child(1) { width: 44px; } .attempts th:nth-child(2) { width: 24%; } .attempts th:nth-child(3) { width: 92px; } .attempts th:nth-child(4) { width: 172px; }
.attempts .lasted { white-space: nowrap; }
.attempts th { text-align: left; font-weight: 500; color: var(--soft); font-size: 12.5px; padding: 0 12px 4px 0; }
.attempts td { padding: 5px 12px 5px 0; border-top: 1px solid var(--line); vertical-align: top; }
.attempts .between td { color: var(--soft); font-size: 12.5px; border-top: 0; padding: 0 12px 5px 0; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 12px 0 4px; font-size: 12.5px; color: var(--soft); }
.legend span { display: inline-flex; align-items: center; gap: 6px; }
.legend i[class] { position: static; animation: none; display: inline-block; rotate: none; width: 18px; height: 10px; min-width: 0; border-radius: 3px; padding: 0; margin: 0; }
.legend i.move[class] { rotate: 45deg; width: 10px; border: 0; border-radius: 2px; }
.legend i.pause[class] { height: 2px; }
.legend i.late[class] { width: 14px; height: auto; font-style: normal; }
dialog { max-width: min(420px, calc(100vw - 28px)); border: 1px solid var(--line); border-radius: var(--round); padding: 22px 24px; background: var(--card); color: var(--ink); box-shadow: 0 24px 70px rgb(0 0 0 / 30%); }
dialog::backdrop { background: rgb(20 18 12 / 45%); }
dialog form { display: grid; gap: 10px; }
dialog .do { display: flex; flex-wrap: wrap; justify-content: flex-end; gap: 10px; margin-top: 6px; }
.more-of-it { margin-top: 5px; }
.late-answer { color: var(--warn); }
@media (forced-colors: active) {
  .track > *, .legend i, .mark, .rails i { forced-color-adjust: none; }
}
details { margin-top: 12px; border-top: 1px solid var(--line); padding-top: 10px; }
.note details, .attempts details { margin-top: 4px; border: 0; padding: 0; }
.note summary { color: inherit; }
summary { cursor: pointer; color: var(--soft); font-size: 14px; border-radius: 6px; }
details > .inside, details > ol { margin-top: 10px; }
.events { font-size: 13.5px; max-height: 420px; overflow-y: auto; scrollbar-width: thin; }
.events li { display: grid; grid-template-columns: 34px 84px 120px minmax(0, 1fr); gap: 10px; padding: 4px 0; border-top: 1px solid color-mix(in srgb, var(--line) 60%, transparent); align-items: baseline; }
.events li > small { text-align: right; }
@container (max-width: 720px) {
  .inside { grid-template-columns: minmax(0, 1fr); }
  .attempts .why:empty { display: none; }
  .axis { grid-template-columns: minmax(0, 1fr); }
  .axis > :first-child, .axis > :last-child { display: none; }
  .row { grid-template-columns: minmax(0, 1fr) 70px; gap: 2px 14px; padding: 8px 0; }
  .row .name { grid-column: 1 / 2; }
  .row .took { grid-column: 2; grid-row: 1; }
  .row .track { grid-column: 1 / 3; }
  li > .inside { padding-left: 0; }
  .events li { grid-template-columns: 84px minmax(0, 1fr); gap: 2px 10px; padding: 6px 0; }
  .events li > small { display: none; }
  .events li > span:last-child { grid-column: 1 / -1; }
  .attempts thead { display: none; }
  .attempts tbody { display: block; }
  .attempts tr { display: grid; grid-template-columns: 16px minmax(0, 1fr) auto auto; gap: 2px 10px; border-top: 1px solid var(--line); padding: 7px 0; }
  .attempts td { border: 0; padding: 0; }
  .attempts td.why { grid-column: 1 / -1; width: auto; }
  .attempts .between { display: block; border: 0; padding: 0 0 6px; }
  .attempts .between td:first-child { display: none; }
}
`;

const MARKS = { Completed: "✓", Failed: "✕", Running: "▸", Waiting: "…", Left: "–" };
const ICONS = { completed: "✓", failed: "✕", timeout: "!", left: "–" };

class Run extends Part {
  static observedAttributes = ["gateway", "run"];
  #open = new Set();
  #of = null;
  #picture = null;
  #acting = false;
  #status = null;
  #notices = new Map();
  #still = matchMedia("(prefers-reduced-motion: reduce)");

  get runId() {
    return this.getAttribute("run") ?? "";
  }

  make() {
    this.mark = this.link();
    this.heading = h("h2", { class: "lines-2", dir: "auto", tabindex: "-1" });
    this.status = statusBadge("Pending");
    this.told = h("p", { class: "unseen", role: "status" });
    this.cancel = h("button", { type: "button", class: "plain", "aria-haspopup": "dialog", onclick: () => this.sure.showModal() }, "Cancel run");
    this.sure = h(
      "dialog", { "aria-labelledby": "sure" },
      h("form", { method: "dialog" },
        h("h2", { id: "sure" }, "Cancel this run?"),
        h("p", {}, "What is at work is not waited for, and what was done is not undone."),
        h("div", { class: "do" }, h("button", { class: "plain", autofocus: true }, "Keep it"), h("button", { class: "bad", onclick: () => this.act("cancel") }, "Cancel run"))),
    );
    this.retry = h("button", { type: "button", onclick: () => this.act("retry") }, "Try again");
    this.facts = h("dl", { class: "facts" });
    this.refusal = h("p", { class: "note bad", role: "alert", hidden: true });
    this.why = h("div", { class: "note bad", dir: "auto", hidden: true });
    this.ticks = h("div", { class: "ticks" });
    this.axis = h("div", { class: "axis", "aria-hidden": "true" }, h("span", {}, "Step"), this.ticks, h("span", { class: "took" }, "Took"));
    this.steps = h("ol", { class: "steps", "aria-label": "Steps, in the order of their beginning; the arrow keys move between them", onkeydown: (event) => this.move(event) });
    this.legend = h(
      "p", { class: "legend", "aria-hidden": "true" },
      ...[["bar completed", "done"], ["bar failed", "failed"], ["bar timeout", "no answer in time"], ["bar running", "at work"], ["pause", "waits for a retry"], ["move", "goes to another provider"], ["late", "answer that came too late"]].map(
        ([kind, text]) => h("span", {}, h("i", { class: kind }, kind === "late" ? "▾" : null), text),
      ),
    );
    this.input = payload("Input", "Input of the run");
    this.output = payload("Output", "Output of the run");
    this.events = h("ol", { class: "events", tabindex: "0", "aria-label": "Events of the run" });
    this.summary = h("summary");
    this.history = h("details", { ontoggle: () => this.redraw() }, this.summary, this.events);
    this.body = h(
      "div", {}, this.facts, this.refusal, this.why, this.axis, this.steps, this.legend,
      h("details", {}, h("summary", {}, "Input and output"), h("div", { class: "inside" }, this.input.element, this.output.element)),
      this.history,
    );
    this.empty = h("p", { class: "empty" });
    this.root.append(
      h("section", { class: "card", "aria-label": "Run" }, h("header", {}, this.heading, this.status, this.mark.element, h("span", { class: "grow" }), this.cancel, this.retry), this.told, this.body, this.empty, this.sure),
    );
  }

  started() {
    this.#open.clear();
    this.#of = null;
    this.steps.replaceChildren();
    this.steps.keyed = undefined;
    this.refusal.hidden = true;
    this.#status = null;
    this.#notices = new Map();
    if (!this.runId) return;
    this.ends(this.store.watch(this.runId));
    // What fits into a bar, and how many moments along the axis, depends on the width.
    const wide = new ResizeObserver(() => this.redraw());
    wide.observe(this);
    this.ends(() => wide.disconnect());
    const timer = setInterval(() => this.notice(), NOTICES_MS);
    const first = setTimeout(() => this.notice(), NOTICES_MS / 4);
    this.ends(() => clearInterval(timer));
    this.ends(() => clearTimeout(first));
  }

  /** Why nothing happens: that no events tell. */
  async notice() {
    const run = this.store.runs.get(this.runId);
    if (!run || hasEnded(run.status) || document.hidden || this.store.state !== "live") return;
    try {
      const { stepResults } = await this.store.shown(run.id);
      this.#notices = new Map(stepResults.filter((one) => one.notice).map((one) => [one.stepId, one.notice]));
      this.redraw();
    } catch {
      // then nobody knows
    }
  }

  async act(what) {
    if (this.#acting) return;
    this.#acting = true;
    this.redraw();
    try {
      await this.store.act(this.runId, what);
      this.refusal.hidden = true;
    } catch (refused) {
      this.refusal.hidden = false;
      say(this.refusal, refused.message);
    } finally {
      this.#acting = false;
      this.redraw();
    }
  }

  move(event) {
    const rows = [...this.steps.querySelectorAll(".row")];
    const at = rows.indexOf(this.root.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (at < 0 || to === undefined || !rows[to]) return;
    event.preventDefault();
    rows[to].focus();
  }

  draw() {
    this.mark.draw();
    const run = this.store.runs.get(this.runId);
    const history = this.store.histories.get(this.runId);
    const events = history?.events ?? [];
    const has = Boolean(run && events.length);
    this.body.hidden = !has;
    this.empty.hidden = has;
    this.status.hidden = !has;
    const pressed = this.root.activeElement;
    this.cancel.hidden = !has || hasEnded(run.status);
    this.retry.hidden = !has || run.status !== "Failed";
    // A button that is disabled, or goes, would take the focus with it.
    for (const button of [this.cancel, this.retry]) {
      set(button, "aria-disabled", this.#acting || null);
      if (button === pressed && button.hidden) this.heading.focus();
    }
    if (!has) {
      say(this.heading, "Run");
      say(this.empty, !this.runId ? "No run is chosen." : (history?.missing ?? "Looking for the run…"));
      return;
    }
    if (this.#of !== events) {
      this.#of = events;
      this.#picture = timeline(events);
    }
    const picture = this.#picture;
    const now = hasEnded(run.status) ? picture.endMs : Math.max(picture.endMs, this.store.now());
    const length = Math.max(1, now - picture.beganMs);
    say(this.heading, run.workflow);
    set(this.heading, "title", run.workflow);
    showStatus(this.status, run.status);
    if (this.#status !== null && this.#status !== run.status) say(this.told, `The run is ${run.status} now.`);
    this.#status = run.status;
    this.drawFacts(run, events, length);
    this.drawWhy(run, picture, events);
    this.drawAxis(length);
    const rows = arranged(picture.steps);
    keyed(this.steps, rows, (one) => one.id, (one) => this.row(one), (row, one) => this.fill(row, one, run, picture, now, length));
    this.axis.hidden = this.legend.hidden = !rows.length;
    this.input.show(run.input, events[0]?.cut && (async () => (await this.store.shown(run.id)).input));
    this.output.element.hidden = run.status !== "Completed";
    this.output.show(run.output, events.at(-1)?.cut && (async () => (await this.store.shown(run.id)).finalOutput));
    say(this.summary, `All ${plural(events.length, "event")}`);
    if (this.history.open) this.drawEvents(events, picture.beganMs);
    if (!hasEnded(run.status)) this.again(this.#still.matches ? GROWS_STILL_MS : GROWS_MS);
  }

  drawFacts(run, events, length) {
    const facts = [
      ["Run", run.id], ["Version", run.version], ["Started", clock(run.triggeredMs), moment(run.triggeredMs)], ["Took", lasted(length)],
      ["Executor", run.executor === "own" ? null : run.executor], ["Idempotency key", run.key], ["Late answers", run.late || null],
    ].filter(([, value]) => value !== null && value !== undefined);
    keyed(this.facts, facts, ([name]) => name, ([name]) => h("div", {}, h("dt", {}, name), h("dd", { class: name === "Run" ? "mono" : null, dir: "auto" })), (element, [, value, title]) => {
      say(element.lastChild, value);
      set(element.lastChild, "title", title);
    });
  }

  /** Why it ended, where it did not end well. */
  drawWhy(run, picture, events) {
    const failed = run.status === "Failed";
    const end = run.status === "Cancelled" ? events.findLast((one) => one.kind === "run.cancelled") : null;
    this.why.hidden = !failed && !end;
    if (this.why.hidden) return;
    const step = failed ? picture.steps.findLast((one) => one.status === "Failed")?.id : null;
    const told = `${run.seq} ${step}`;
    if (this.why.told === told) return;
    this.why.told = told;
    set(this.why, "class", failed ? "note bad" : "note warn");
    if (end) {
      this.why.replaceChildren(h("strong", {}, plain(`Cancelled${end.who ? ` by ${end.who}` : ""}`)), end.reason ? ` — ${plain(end.reason)}` : "");
      return;
    }
    const { code, message, details: more } = run.failure;
    this.why.replaceChildren(h("strong", {}, plain(step ? `${step}: ${code}` : code)), message ? ` — ${short(message)}` : "");
    this.why.append(...details(message, more));
  }

  drawAxis(length) {
    const marks = [0, ...ticks(length, Math.max(2, Math.min(6, Math.floor(this.ticks.clientWidth / 110))))];
    this.marks = marks;
    keyed(this.ticks, marks, (one) => one, (one) => h("span", {}, tick(one)), (element, one) => (element.style.left = `${(one / length) * 100}%`));
  }

  row(one) {
    const parts = { mark: h("span", { "aria-hidden": "true" }), id: h("span", { class: "id", dir: "auto" }, h("span", { class: "lines-2", title: one.id }, one.id)), hint: h("small"), notice: h("small", { class: "notice" }), track: h("span", { class: "track", "aria-hidden": "true" }), took: h("span", { class: "took" }), story: h("span", { class: "unseen", id: `story-${(this.stories = (this.stories ?? 0) + 1)}` }), inside: h("div", { class: "inside", hidden: true }) };
    parts.id.append(parts.hint, parts.notice);
    const rails = h("span", { class: "rails", "aria-hidden": "true" }, ...one.lane.map((branch) => h("i", { class: `lane-${branch % 5}` })));
    const button = h("button", { type: "button", class: "row", "aria-expanded": "false", "aria-describedby": parts.story.id, onclick: () => this.toggle(one.id) }, h("span", { class: "name" }, rails, parts.mark, parts.id), parts.track, parts.took);
    const row = h("li", { "data-step": one.id }, button, parts.story, parts.inside);
    Object.assign(row, { parts, button });
    return row;
  }

  toggle(id) {
    if (this.#open.has(id)) this.#open.delete(id);
    else this.#open.add(id);
    this.redraw();
  }

  fill(row, one, run, picture, now, length) {
    const { parts } = row;
    const open = this.#open.has(one.id);
    const percent = (ms) => `${Math.max(0, Math.min(100, ((ms - picture.beganMs) / length) * 100)).toFixed(3)}%`;
    const endMs = one.endedMs ?? now;
    set(parts.mark, "class", `mark ${one.status}`);
    say(parts.mark, MARKS[one.status]);
    say(parts.hint, hint(one));
    say(parts.notice, isOpen(one) ? (this.#notices.get(one.id) ?? "") : "");
    say(parts.took, one.kind === "task" ? lasted(endMs - one.beganMs) : "");
    set(parts.took, "aria-hidden", one.endedMs === null);
    const tries = one.attempts.slice(-ATTEMPTS_MAX);
    const drawn = [
      ...this.marks.slice(1).map((at) => ({ key: `grid ${at}`, kind: "grid", from: picture.beganMs + at })),
      ...one.pauses.slice(-ATTEMPTS_MAX).map((pause) => ({ key: `pause ${pause.fromMs}`, kind: "pause", from: pause.fromMs, to: pause.toMs ?? Math.max(now, pause.fromMs), text: lasted(pause.delayMs) })),
      ...tries.map((tried) => ({ key: `bar ${tried.number}`, kind: `bar ${tried.outcome ?? "running"}`, from: tried.startedMs, to: tried.endedMs ?? now, tried })),
      ...one.moves.map((to) => ({ key: `move ${to.atMs}`, kind: "move", from: to.atMs, title: `${to.left} → ${to.taken}` })),
      ...tries.filter((tried) => tried.late).map((tried) => ({ key: `late ${tried.number}`, kind: "late", from: tried.late.atMs, text: "▾", title: `attempt ${tried.number} answered too late` })),
      ...(one.kind === "task" && one.attempts.length ? [] : [{ key: "point", kind: `point ${one.status}`, from: one.beganMs }]),
    ];
    const width = parts.track.clientWidth;
    keyed(parts.track, drawn, (each) => each.key, () => h("span"), (element, each) => {
      set(element, "class", each.kind);
      element.style.left = percent(each.from);
      if (each.to !== undefined) element.style.width = `${(((each.to - each.from) / length) * 100).toFixed(3)}%`;
      const room = each.to === undefined ? 0 : ((each.to - each.from) / length) * width;
      if (each.tried) {
        element.classList.toggle("small", room < 22);
        const where = each.tried.where && one.attempts.some((other) => other.where !== each.tried.where) ? ` ${each.tried.where}` : "";
        say(element, room < 22 ? "" : `${ICONS[each.tried.outcome] ?? "▸"}${room > 60 ? where : ""}`);
      } else if (each.kind === "pause") {
        if (!element.firstChild) element.append(h("span"));
        say(element.firstChild, room > 46 ? each.text : "");
      } else if (each.text) {
        say(element, each.text);
      }
      set(element, "title", each.title ?? (each.tried && `attempt ${each.tried.number}: ${OUTCOMES[each.tried.outcome] ?? "at work"}`));
    });
    set(row.button, "aria-expanded", String(open));
    say(parts.story, story(one));
    parts.inside.hidden = !open;
    if (open) this.inside(parts.inside, one, run, now);
  }

  /** All that is known of a step; made anew when it changes. */
  inside(element, one, run, now) {
    const state = run.steps[one.id];
    const told = `${state?.status} ${one.attempts.length} ${one.pauses.length} ${one.moves.length} ${one.attempts.map((tried) => `${tried.outcome}${tried.late ? 1 : 0}`)}`;
    if (element.told !== told) {
      element.told = told;
      const parts = [];
      if (one.attempts.length) parts.push(h("div", { class: "wide" }, h("h3", {}, "Attempts"), attempts(one)));
      if (one.failure && !one.attempts.length) parts.push(h("p", { class: "note bad wide" }, h("strong", {}, one.failure.code), one.failure.message ? ` — ${short(one.failure.message)}` : "", ...details(one.failure.message, one.failure.details)));
      if (one.kind === "choice") parts.push(h("p", { class: "wide" }, "It went on with ", h("strong", {}, one.note), "."));
      const begun = this.#of.findLast((event) => event.step === one.id && (event.kind === "step.started" || event.value !== undefined));
      const ended = this.#of.findLast((event) => event.step === one.id && (event.kind === "step.completed" || event.kind === "join.completed"));
      const whole = (name) => async () => (await this.store.shown(run.id)).stepResults.find((each) => each.stepId === one.id)?.[name];
      const input = payload("Input", `Input of ${one.id}`);
      input.show(state?.input, begun?.cut && whole("input"));
      parts.push(input.element);
      if (state?.status === "Completed") {
        const output = payload("Output", `Output of ${one.id}`);
        output.show(state.output, ended?.cut && whole("output"));
        parts.push(output.element);
      }
      element.replaceChildren(...parts);
    }
    for (const cell of element.querySelectorAll("[data-since]")) say(cell, lasted(now - Number(cell.dataset.since)));
  }

  drawEvents(events, beganMs) {
    keyed(this.events, events.slice(-HISTORY_MAX), (one) => one.seq, (one) => {
      const [word, colour, , told] = words(one);
      return h("li", {}, h("small", {}, one.seq), h("span", { class: "soft", title: clock(one.atMs) }, `+${lasted(one.atMs - beganMs)}`), h("span", {}, h("span", { class: `badge ${colour === "busy" ? "" : colour}`, title: one.kind }, word)), h("span", { class: "what lines-4", title: told.join(" · ") }, ...sentence(told)));
    }, () => {});
  }
}

const isOpen = (one) => one.status === "Running" || one.status === "Waiting";

/** A round moment of the axis. */
const tick = (ms) => {
  const [unit, name] = [[86400000, "d"], [3600000, "h"], [60000, "min"], [1000, "s"]].find(([one]) => ms >= one && ms % one === 0) ?? [1, "ms"];
  return ms ? `${ms / unit} ${name}` : "0";
};

define("gossamer-run", Run, LOOKS);
