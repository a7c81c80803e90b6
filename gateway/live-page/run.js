// <gossamer-run>: one run as a picture of time. Each step has a line, each attempt a bar in it, with the pauses before
// retries, moves between providers and answers that came too late. A line opens to all that is
// known of its step. The same is there in sentences for who cannot see it.
//
//   <gossamer-run gateway run="ID">

import { clock, lasted } from "./forms.js";
import { define, h, keyed, Part, plural, say, set, showStatus, statusBadge } from "./part.js";
import { hasEnded } from "./projection.js";
import { arranged, ticks, timeline } from "./timeline.js";
import { words } from "./words.js";

const HISTORY_MAX = 1000;
const TEXT_MAX = 20000;
const GROWS_MS = 200;

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
.track { position: relative; height: 30px; background-image: linear-gradient(var(--line), var(--line)); background-size: 100% 1px; background-position: center; background-repeat: no-repeat; }
.track > * { position: absolute; }
.grid { top: -9px; bottom: -9px; width: 1px; background: color-mix(in srgb, var(--line) 70%, transparent); }
.bar { top: 4px; height: 22px; min-width: 4px; border-radius: 6px; padding: 0 6px; overflow: hidden; white-space: nowrap; font-size: 12px; line-height: 22px; font-weight: 600; background: var(--busy-back); color: var(--busy); box-shadow: inset 0 0 0 1px color-mix(in srgb, currentcolor 40%, transparent); }
.bar.small { padding: 0; }
.bar.completed { background: var(--good-back); color: var(--good); }
.bar.failed { background: var(--bad-back); color: var(--bad); }
.bar.timeout { color: var(--bad); background: repeating-linear-gradient(-45deg, var(--bad-back) 0 6px, var(--card) 6px 10px); }
.bar.left { background: var(--idle); color: var(--idle-ink); }
.bar.running { background: linear-gradient(90deg, var(--busy-back), color-mix(in srgb, var(--busy) 30%, var(--busy-back))); border-right: 3px solid var(--busy); animation: pulse 1.6s ease-in-out infinite; }
@keyframes pulse { 50% { opacity: 0.65; } }
.pause { top: 14px; height: 2px; background: repeating-linear-gradient(90deg, var(--warn) 0 5px, transparent 5px 9px); }
.pause span { position: absolute; left: 50%; bottom: 2px; transform: translateX(-50%); font-size: 11px; line-height: 1; color: var(--warn); white-space: nowrap; }
.move { top: -4px; width: 12px; height: 12px; margin-left: -6px; border-radius: 3px; rotate: 45deg; background: var(--move); border: 2px solid var(--card); }
.late { top: -3px; margin-left: -7px; width: 14px; font-size: 13px; line-height: 1; text-align: center; color: var(--warn); }
.point { top: 9px; width: 12px; height: 12px; margin-left: -6px; border-radius: 50%; background: var(--move-back); border: 2px solid var(--move); }
.point.Failed { background: var(--bad-back); border-color: var(--bad); }
.took { text-align: right; font-size: 13px; color: var(--soft); white-space: nowrap; }
.inside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 14px; padding: 6px 0 18px; }
li > .inside { padding-left: 28px; }
.inside > * { min-width: 0; }
.wide { grid-column: 1 / -1; }
pre { margin: 0; padding: 10px 12px; max-height: 260px; overflow: auto; border-radius: 10px; background: var(--paper); border: 1px solid var(--line); white-space: pre-wrap; }
.attempts { width: 100%; border-collapse: collapse; font-size: 13.5px; }
.attempts th { text-align: left; font-weight: 500; color: var(--soft); font-size: 12.5px; padding: 0 12px 4px 0; }
.attempts td { padding: 5px 12px 5px 0; border-top: 1px solid var(--line); vertical-align: top; }
.attempts .why { width: 45%; }
.attempts .between td { color: var(--soft); font-size: 12.5px; border-top: 0; padding: 0 12px 5px 0; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 12px 0 4px; font-size: 12.5px; color: var(--soft); }
.legend span { display: inline-flex; align-items: center; gap: 6px; }
.legend i { position: static; display: inline-block; width: 18px; height: 10px; min-width: 0; border-radius: 3px; padding: 0; margin: 0; }
.legend i.move { width: 10px; border: 0; border-radius: 2px; }
.legend i.pause { height: 2px; }
details { margin-top: 12px; border-top: 1px solid var(--line); padding-top: 10px; }
summary { cursor: pointer; color: var(--soft); font-size: 14px; border-radius: 6px; }
details > .inside, details > ol { margin-top: 10px; }
.events { font-size: 13.5px; max-height: 420px; overflow-y: auto; scrollbar-width: thin; }
.events li { display: grid; grid-template-columns: 34px 84px 120px minmax(0, 1fr); gap: 10px; padding: 4px 0; border-top: 1px solid color-mix(in srgb, var(--line) 60%, transparent); align-items: baseline; }
.events li > small { text-align: right; }
@container (max-width: 720px) {
  .axis { grid-template-columns: minmax(0, 1fr); }
  .axis > :first-child, .axis > :last-child { display: none; }
  .row { grid-template-columns: minmax(0, 1fr) 70px; gap: 2px 14px; padding: 8px 0; }
  .row .name { grid-column: 1 / 2; }
  .row .took { grid-column: 2; grid-row: 1; }
  .row .track { grid-column: 1 / 3; }
  li > .inside { padding-left: 0; }
  .events li { grid-template-columns: 84px minmax(0, 1fr); }
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
const KINDS = { choice: "choice", parallel: "parallel", join: "join" };
const OUTCOMES = { completed: "completed", failed: "failed", timeout: "not answered in time", left: "not waited for" };
const ICONS = { completed: "✓", failed: "✕", timeout: "⏱", left: "–" };

class Run extends Part {
  static observedAttributes = ["gateway", "run"];
  #open = new Set();
  #of = null;
  #picture = null;
  #acting = false;

  get runId() {
    return this.getAttribute("run") ?? "";
  }

  make() {
    this.mark = this.link();
    this.heading = h("h2");
    this.status = statusBadge("Pending");
    this.cancel = h("button", { type: "button", class: "plain", onclick: () => this.act("cancel") }, "Cancel run");
    this.retry = h("button", { type: "button", onclick: () => this.act("retry") }, "Try again");
    this.facts = h("dl", { class: "facts" });
    this.refusal = h("p", { class: "note bad", role: "alert", hidden: true });
    this.why = h("div", { class: "note bad", hidden: true });
    this.ticks = h("div", { class: "ticks" });
    this.axis = h("div", { class: "axis", "aria-hidden": "true" }, h("span", {}, "Step"), this.ticks, h("span", { class: "took" }, "Took"));
    this.steps = h("ol", { class: "steps", "aria-label": "Steps, in the order of their beginning; the arrow keys move between them", onkeydown: (event) => this.move(event) });
    this.legend = h(
      "p", { class: "legend", "aria-hidden": "true" },
      ...[["bar completed", "done"], ["bar failed", "failed"], ["bar timeout", "no answer in time"], ["pause", "waits for a retry"], ["move", "goes to another provider"]].map(
        ([kind, text]) => h("span", {}, h("i", { class: kind }), text),
      ),
    );
    this.input = h("pre", { tabindex: "0", "aria-label": "Input of the run" });
    this.output = h("pre", { tabindex: "0", "aria-label": "Output of the run" });
    this.events = h("ol", { class: "events", tabindex: "0", "aria-label": "Events of the run" });
    this.summary = h("summary");
    this.history = h("details", { ontoggle: () => this.redraw() }, this.summary, this.events);
    this.body = h(
      "div", {}, this.facts, this.refusal, this.why, this.axis, this.steps, this.legend,
      h("details", {}, h("summary", {}, "Input and output"), h("div", { class: "inside" }, h("div", {}, h("h3", {}, "Input"), this.input), h("div", {}, h("h3", {}, "Output"), this.output))),
      this.history,
    );
    this.empty = h("p", { class: "empty" });
    this.root.append(
      h("section", { class: "card", "aria-label": "Run" }, h("header", {}, this.heading, this.status, this.mark.element, h("span", { class: "grow" }), this.cancel, this.retry), this.body, this.empty),
    );
  }

  started() {
    this.#open.clear();
    this.#of = null;
    this.steps.replaceChildren();
    this.steps.keyed = undefined;
    this.refusal.hidden = true;
    if (this.runId) this.ends(this.store.watch(this.runId));
  }

  async act(what) {
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
    this.cancel.hidden = !has || hasEnded(run.status);
    this.retry.hidden = !has || run.status !== "Failed";
    this.cancel.disabled = this.retry.disabled = this.#acting;
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
    showStatus(this.status, run.status);
    this.drawFacts(run, events, length);
    this.drawWhy(run, picture);
    this.drawAxis(length);
    const rows = arranged(picture.steps);
    keyed(this.steps, rows, (one) => one.id, (one) => this.row(one), (row, one) => this.fill(row, one, run, picture, now, length));
    this.axis.hidden = this.legend.hidden = !rows.length;
    say(this.input, pretty(run.input, events[0]?.cut, "input"));
    say(this.output, run.status === "Completed" ? pretty(run.output, events.at(-1)?.cut, "output") : "none yet");
    say(this.summary, `All ${plural(events.length, "event")}`);
    if (this.history.open) this.drawEvents(events, picture.beganMs);
    if (!hasEnded(run.status)) this.again(GROWS_MS);
  }

  drawFacts(run, events, length) {
    const facts = [
      ["Run", run.id], ["Version", run.version], ["Started", clock(run.triggeredMs)], ["Took", lasted(length)],
      ["Executor", run.executor === "own" ? null : run.executor], ["Idempotency key", run.key], ["Late answers", run.late || null],
    ].filter(([, value]) => value !== null && value !== undefined);
    keyed(this.facts, facts, ([name]) => name, ([name]) => h("div", {}, h("dt", {}, name), h("dd", { class: name === "Run" ? "mono" : null })), (element, [, value]) => say(element.lastChild, value));
  }

  drawWhy(run, picture) {
    this.why.hidden = run.status !== "Failed";
    if (this.why.hidden) return;
    const { code, message, details } = run.failure;
    const step = picture.steps.findLast((one) => one.status === "Failed")?.id;
    const told = `${code} ${message} ${details} ${step}`;
    if (this.why.told === told) return;
    this.why.told = told;
    this.why.replaceChildren(h("strong", {}, step ? `${step}: ${code}` : code), message ? ` — ${message}` : "");
    if (details) this.why.append(h("details", {}, h("summary", {}, "Details"), h("pre", { tabindex: "0" }, details)));
  }

  drawAxis(length) {
    const marks = [0, ...ticks(length, Math.max(2, Math.min(6, Math.floor(this.ticks.clientWidth / 110))))];
    this.marks = marks;
    keyed(this.ticks, marks, (one) => one, (one) => h("span", {}, moment(one)), (element, one) => (element.style.left = `${(one / length) * 100}%`));
  }

  row(one) {
    const parts = { mark: h("span", { "aria-hidden": "true" }), id: h("span", { class: "id" }, one.id), hint: h("small"), track: h("span", { class: "track", "aria-hidden": "true" }), took: h("span", { class: "took" }), story: h("span", { class: "unseen" }), inside: h("div", { class: "inside", hidden: true }) };
    parts.id.append(parts.hint);
    const rails = h("span", { class: "rails", "aria-hidden": "true" }, ...one.lane.map((branch) => h("i", { class: `lane-${branch % 5}` })));
    const button = h("button", { type: "button", class: "row", "aria-expanded": "false", onclick: () => this.toggle(one.id) }, h("span", { class: "name" }, rails, parts.mark, parts.id), parts.track, parts.took);
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
    say(parts.took, one.kind === "task" ? lasted(endMs - one.beganMs) : "");
    const drawn = [
      ...this.marks.slice(1).map((at) => ({ key: `grid ${at}`, kind: "grid", from: picture.beganMs + at })),
      ...one.pauses.map((pause) => ({ key: `pause ${pause.fromMs}`, kind: "pause", from: pause.fromMs, to: pause.toMs ?? Math.max(now, pause.fromMs), text: lasted(pause.delayMs) })),
      ...one.attempts.map((tried) => ({ key: `bar ${tried.number}`, kind: `bar ${tried.outcome ?? "running"}`, from: tried.startedMs, to: tried.endedMs ?? now, tried })),
      ...one.moves.map((to) => ({ key: `move ${to.atMs}`, kind: "move", from: to.atMs, title: `${to.left} → ${to.taken}` })),
      ...one.attempts.filter((tried) => tried.late).map((tried) => ({ key: `late ${tried.number}`, kind: "late", from: tried.late.atMs, text: "▾", title: `attempt ${tried.number} answered too late` })),
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
    say(parts.story, story(one, now));
    parts.inside.hidden = !open;
    if (open) this.inside(parts.inside, one, run.steps[one.id], now);
  }

  /** All that is known of a step; made anew when it changes. */
  inside(element, one, state, now) {
    const told = `${state?.status} ${one.attempts.length} ${one.pauses.length} ${one.moves.length} ${one.attempts.map((tried) => `${tried.outcome}${tried.late ? 1 : 0}`)}`;
    if (element.told !== told) {
      element.told = told;
      const parts = [];
      if (one.attempts.length) parts.push(h("div", { class: "wide" }, h("h3", {}, "Attempts"), attempts(one)));
      if (one.failure && !one.attempts.length) parts.push(h("p", { class: "note bad wide" }, h("strong", {}, one.failure.code), one.failure.message ? ` — ${one.failure.message}` : ""));
      if (one.kind === "choice") parts.push(h("p", { class: "wide" }, "It went on with ", h("strong", {}, one.note), "."));
      const input = this.#of.findLast((event) => event.step === one.id && (event.kind === "step.started" || event.value !== undefined));
      const output = this.#of.findLast((event) => event.step === one.id && (event.kind === "step.completed" || event.kind === "join.completed"));
      parts.push(h("div", {}, h("h3", {}, "Input"), h("pre", { tabindex: "0", "aria-label": `Input of ${one.id}` }, pretty(state?.input, input?.cut, "input", "value"))));
      if (state?.status === "Completed") parts.push(h("div", {}, h("h3", {}, "Output"), h("pre", { tabindex: "0", "aria-label": `Output of ${one.id}` }, pretty(state.output, output?.cut, "output"))));
      element.replaceChildren(...parts);
    }
    for (const cell of element.querySelectorAll("[data-since]")) say(cell, lasted(now - Number(cell.dataset.since)));
  }

  drawEvents(events, beganMs) {
    keyed(this.events, events.slice(-HISTORY_MAX), (one) => one.seq, (one) => {
      const [word, colour, sentence] = words(one);
      return h("li", {}, h("small", {}, one.seq), h("span", { class: "soft", title: clock(one.atMs) }, `+${lasted(one.atMs - beganMs)}`), h("span", {}, h("span", { class: `badge ${colour === "busy" ? "" : colour}`, title: one.kind }, word)), h("span", {}, sentence));
    }, () => {});
  }
}

function attempts(one) {
  const body = h("tbody");
  const between = [...one.pauses.map((pause) => [pause.fromMs, `waited ${lasted(pause.delayMs)}, then tried again`]), ...one.moves.map((to) => [to.atMs, `went over from ${to.left} to ${to.taken}`])].sort((a, b) => a[0] - b[0]);
  for (const tried of one.attempts) {
    while (between.length && between[0][0] <= tried.startedMs) body.append(betweenRow(between.shift()[1]));
    const took = h("td");
    if (tried.endedMs === null) took.dataset.since = tried.startedMs;
    else took.textContent = lasted(tried.endedMs - tried.startedMs);
    const why = [tried.failure ? `${tried.failure.code}${tried.failure.message ? `: ${tried.failure.message}` : ""}` : "", tried.late ? `An answer (${tried.late.status}) came at ${clock(tried.late.atMs)}, after it was given up.` : ""].filter(Boolean).join(" ");
    const cell = h("td", { class: "why" }, why);
    if (tried.failure?.details) cell.append(h("details", {}, h("summary", {}, "Details"), h("pre", { tabindex: "0" }, tried.failure.details.slice(0, TEXT_MAX))));
    const kind = { completed: "good", failed: "bad", timeout: "bad", left: "" }[tried.outcome] ?? "busy";
    body.append(h("tr", {}, h("td", {}, `${tried.number}`), h("td", {}, tried.where), took, h("td", {}, h("span", { class: `badge ${kind}` }, OUTCOMES[tried.outcome] ?? "at work")), cell));
  }
  for (const [, text] of between) body.append(betweenRow(text));
  return h("table", { class: "attempts" }, h("thead", {}, h("tr", {}, ...["#", "Where", "Took", "Outcome", ""].map((head) => h("th", { scope: "col" }, head)))), body);
}

/** A round moment of the axis. */
const moment = (ms) => (ms && ms < 60000 && ms % 1000 === 0 ? `${ms / 1000} s` : ms ? lasted(ms) : "0");

const betweenRow = (text) => h("tr", { class: "between" }, h("td"), h("td", { colspan: "4" }, `↓ ${text}`));

function hint(one) {
  if (one.kind === "choice") return `choice → ${one.note}`;
  if (one.kind === "parallel") return plural(Number(one.note), "branch", "branches");
  if (KINDS[one.kind]) return KINDS[one.kind];
  const last = one.attempts.at(-1);
  if (!last) return "";
  const moved = one.moves.length ? [one.moves[0].left, ...one.moves.map((to) => to.taken)].join(" → ") : last.where === one.id ? "" : last.where;
  return [one.attempts.length > 1 ? `${one.attempts.length} attempts` : "", moved].filter(Boolean).join(" · ");
}

/** A step in sentences. */
function story(one, now) {
  const told = [];
  const between = [...one.pauses.map((pause) => [pause.fromMs, `It waited ${lasted(pause.delayMs)}.`]), ...one.moves.map((to) => [to.atMs, `It went over from ${to.left} to ${to.taken}.`])].sort((a, b) => a[0] - b[0]);
  for (const tried of one.attempts) {
    while (between.length && between[0][0] <= tried.startedMs) told.push(between.shift()[1]);
    const took = tried.endedMs === null ? "" : ` after ${lasted(tried.endedMs - tried.startedMs)}`;
    told.push(`Attempt ${tried.number}${tried.where ? ` at ${tried.where}` : ""}: ${OUTCOMES[tried.outcome] ?? "at work"}${took}${tried.failure ? `, ${tried.failure.code} ${tried.failure.message ?? ""}` : ""}.`);
    if (tried.late) told.push(`Its answer came too late.`);
  }
  told.push(...between.map(([, text]) => text));
  const branch = one.lane.length ? ` In branch ${one.lane.map((index) => index + 1).join(".")}.` : "";
  return `${one.status}.${branch} ${told.join(" ")}`;
}

function pretty(value, cut, ...names) {
  if (names.some((name) => cut?.includes(name))) return "It is too large to be shown here; the run's history over HTTP has it.";
  if (value === undefined || value === null) return "null";
  const text = JSON.stringify(value, null, 2);
  return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text;
}

define("gossamer-run", Run, LOOKS);
