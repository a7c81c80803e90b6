// What a page knows of a gateway's runs: one store for each gateway, whatever number of components look at it. A run
// is what its events make of it (projection.js). Of one whose beginning the page has not seen, the
// events are asked for once and folded with those that come meanwhile; lists of older runs come over HTTP and are
// replaced by the fold as soon as something happens in them. Everything is bounded.

import { ask, baseOf, unique } from "./asking.js";
import { Following } from "./following.js";
import { evolve, hasEnded, OutOfPlace } from "./projection.js";

const TAIL_MAX = 2000;
const RUNS_MAX = 2000;
const SEEN_MAX = 20000;
const READING_MAX = 4;
const TO_READ_MAX = 400;
const HISTORY_PAGE = 500;
const AGAIN_MAX = 5;
const ACCEPTED_MS = 2000;
const WORKFLOWS_PAGE = 500;

const stores = new Map();

/** The store of a gateway. */
export function storeOf(base) {
  if (!stores.has(base)) stores.set(base, new Store(base));
  return stores.get(base);
}

/** Puts in only so many, the oldest go. */
function bounded(map, max) {
  for (const key of map.keys()) {
    if (map.size <= max) return;
    map.delete(key);
  }
}

/** Fires `change` (at most once a task), `state`, and `lost`. */
export class Store extends EventTarget {
  state = "connecting";
  detail = "";
  /** Since when it is not connected, by this machine's clock; null: it is. */
  awayMs = null;
  /** The component that says in words whether it is connected. */
  speaker = null;
  /** Newest last: `{number, event, workflow}`. */
  tail = [];
  told = 0;
  /** Folded runs by id. */
  runs = new Map();
  /** Runs as a list over HTTP had them, by id, of which no event has come since. */
  listed = new Map();
  /** What was triggered from here and is not yet known to be so or not, by key. */
  pending = new Map();
  /** Events of runs that somebody looks at closely, by id. */
  histories = new Map();
  #seen = new Map();
  #workflows = new Map();
  #waiting = new Map();
  #toRead = [];
  #reading = 0;
  #needs = new Set();
  #watched = new Map();
  #following;
  #skew = null;
  #settling = null;
  #changed = false;
  #projects = false;

  constructor(base) {
    super();
    this.base = base;
    this.#following = new Following(base, {
      hear: (frame) => this.#hear(frame),
      state: (state, detail = "") => {
        this.awayMs = state === "live" ? null : (this.awayMs ?? (state === "away" ? Date.now() : null));
        Object.assign(this, { state, detail });
        this.dispatchEvent(new Event("state"));
      },
      lost: () => {
        // What happened meanwhile is not to be had in order: what is open is read anew.
        for (const run of this.runs.values()) if (!hasEnded(run.status)) this.#read(run.id);
        for (const id of this.#watched.keys()) this.#read(id);
        this.dispatchEvent(new Event("lost"));
      },
    });
  }

  /** Comes again at once, where it is not connected. */
  hurry() {
    this.#following.hurry();
  }

  /** The gateway's time, as far as it is known. */
  now() {
    const skew = this.#skew !== null && Math.abs(this.#skew) > 1000 ? this.#skew : 0;
    return Date.now() - skew;
  }

  /** A component needs events: `{run, workflow, kinds}`, each perhaps missing. Returns how to end that. */
  attach(need) {
    this.#needs.add(need);
    this.#settle();
    return () => {
      this.#needs.delete(need);
      this.#settle();
    };
  }

  /** The run's events are kept as well, from its beginning. Returns how to end that. */
  watch(id) {
    this.#watched.set(id, (this.#watched.get(id) ?? 0) + 1);
    if (!this.histories.has(id)) this.histories.set(id, { events: [], missing: null });
    const detach = this.attach({ run: id });
    return () => {
      detach();
      const left = this.#watched.get(id) - 1;
      if (left) {
        this.#watched.set(id, left);
        return;
      }
      this.#watched.delete(id);
      this.histories.delete(id);
    };
  }

  /** Components come and go in one task: the connection changes once. */
  #settle() {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => {
      if (!this.#needs.size) {
        this.#following.close();
        return;
      }
      const needs = [...this.#needs];
      const query = new URLSearchParams();
      for (const [name, of] of [["run", (one) => one.run && [one.run]], ["workflow", (one) => one.workflow && [one.workflow]], ["kind", (one) => one.kinds]]) {
        if (!needs.every((one) => of(one)?.length)) continue;
        for (const value of new Set(needs.flatMap(of))) query.append(name, value);
      }
      const first = this.#first();
      this.#following.want(query.toString(), first ?? "now");
      this.#projects = needs.some((one) => !one.kinds?.length);
      if (!first) this.#readWatched();
    }, 20);
  }

  /** Where to begin when a run alone is looked at: its history then comes first, over the same connection. */
  #first() {
    const runs = new Set([...this.#needs].map((one) => one.run));
    const [only] = runs;
    return runs.size === 1 && only && this.#watched.has(only) && !this.#following.cursor ? `run:${only}` : null;
  }

  #readWatched() {
    for (const id of this.#watched.keys()) {
      const history = this.histories.get(id);
      if (!history.events.length && !history.gone) this.#read(id);
    }
  }

  // --- events

  #hear(frame) {
    for (const [run, workflow] of Object.entries(frame.workflows ?? {})) this.#workflows.set(run, workflow);
    bounded(this.#workflows, SEEN_MAX);
    const live = this.state === "live";
    for (const event of frame.events ?? []) {
      try {
        this.#take(event, live);
      } catch (error) {
        // An event that is not as it should be costs its run the picture, and nobody else anything.
        console.warn("an event cannot be understood", event, error);
        this.runs.delete(event?.run);
      }
    }
    if (frame.kind === "live") this.#readWatched();
    if (frame.events?.length) this.#change();
  }

  #take(event, live) {
    if (live) {
      const late = Date.now() - event.atMs;
      this.#skew = this.#skew === null ? late : Math.min(this.#skew, late);
    }
    if (event.seq <= (this.#seen.get(event.run) ?? 0)) return;
    this.#seen.delete(event.run);
    this.#seen.set(event.run, event.seq);
    bounded(this.#seen, SEEN_MAX);
    this.told += 1;
    this.tail.push({ number: this.told, event, workflow: this.workflowOf(event) });
    if (this.tail.length > TAIL_MAX * 1.25) this.tail.splice(0, this.tail.length - TAIL_MAX);
    if (this.#projects) this.#project(event);
    if (event.kind === "run.triggered" && event.key && this.pending.has(event.key)) {
      this.#settlePending(event.key, { status: "started", run: event.run });
    }
  }

  workflowOf(event) {
    return event.workflow ?? this.#workflows.get(event.run) ?? this.runs.get(event.run)?.workflow ?? "";
  }

  #project(event) {
    const id = event.run;
    const waiting = this.#waiting.get(id);
    if (waiting) {
      if (waiting.length < HISTORY_PAGE) waiting.push(event);
      return;
    }
    const run = this.runs.get(id) ?? null;
    if (run && event.seq <= run.seq) return;
    if ((run?.seq ?? 0) + 1 !== event.seq) {
      if (run || this.listed.has(id) || this.#watched.has(id)) this.#read(id, event);
      return;
    }
    try {
      this.#keep(evolve(run, event));
    } catch (error) {
      if (!(error instanceof OutOfPlace)) throw error;
      this.runs.delete(id);
      return;
    }
    const history = this.histories.get(id);
    if (history && event.seq === history.events.length + 1) history.events = [...history.events, event];
    else if (history && event.seq > history.events.length) this.#read(id);
  }

  #keep(run) {
    this.listed.delete(run.id);
    this.runs.set(run.id, run);
    if (run.key && this.pending.has(run.key)) this.#settlePending(run.key, { status: "started", run: run.id });
    if (this.runs.size <= RUNS_MAX * 1.25) return;
    // Those that ended go first, the oldest first; a page that shows more asks for them again.
    const order = [...this.runs.values()].sort((a, b) => hasEnded(b.status) - hasEnded(a.status) || a.triggeredMs - b.triggeredMs);
    for (const one of order.slice(0, this.runs.size - RUNS_MAX)) if (!this.#watched.has(one.id)) this.runs.delete(one.id);
  }

  // --- histories over HTTP

  /** Reads a run's events. What happens in it meanwhile waits. */
  #read(id, event = null) {
    if (this.#waiting.has(id)) {
      if (event) this.#waiting.get(id).push(event);
      return;
    }
    if (this.#toRead.length >= TO_READ_MAX && !this.#watched.has(id)) return;
    this.#waiting.set(id, event ? [event] : []);
    if (this.#watched.has(id)) this.#toRead.unshift(id);
    else this.#toRead.push(id);
    this.#readOn();
  }

  async #readOn() {
    if (this.#reading >= READING_MAX) return;
    const id = this.#toRead.shift();
    if (id === undefined) return;
    this.#reading += 1;
    let events = null;
    try {
      events = await this.#fetchHistory(id);
    } catch (refused) {
      const history = this.histories.get(id);
      if (history) {
        history.gone = refused.status === 404;
        history.missing = history.gone ? "There is no such run. Runs that ended are kept for a time only." : refused.message;
        this.#change();
      }
    } finally {
      this.#reading -= 1;
    }
    const waiting = this.#waiting.get(id) ?? [];
    this.#waiting.delete(id);
    if (events) {
      let run = null;
      const kept = this.histories.get(id);
      const all = kept ? [] : null;
      for (const event of [...events, ...waiting]) {
        if (event.seq <= (run?.seq ?? 0)) continue;
        try {
          run = evolve(run, event);
        } catch (error) {
          if (!(error instanceof OutOfPlace)) console.warn("an event cannot be understood", event, error);
          break;
        }
        all?.push(event);
      }
      if (run && run.seq >= (this.runs.get(id)?.seq ?? 0)) {
        this.#keep(run);
        if (kept) Object.assign(kept, { events: all, missing: null });
      }
      this.#change();
    }
    this.#readOn();
  }

  async #fetchHistory(id) {
    const events = [];
    let after = "";
    for (;;) {
      const told = await ask(this.base, `/workflow/run/${encodeURIComponent(id)}/events?limit=${HISTORY_PAGE}${after}`);
      events.push(...told.events);
      if (!told.next) return events;
      after = `&after=${encodeURIComponent(told.next)}`;
    }
  }

  /** A page of older runs over HTTP; returns where the next one begins, null for the end. */
  async list({ workflow, status, after, limit = 50 }) {
    const query = new URLSearchParams({ limit });
    for (const [name, value] of Object.entries({ workflow, status, after })) if (value) query.set(name, value);
    const told = await ask(this.base, `/workflow/runs?${query}`);
    for (const one of told.items) {
      if (this.runs.has(one.runId)) continue;
      const run = {
        id: one.runId, workflow: one.workflowId, version: one.version, status: one.status, key: one.idempotencyKey,
        triggeredMs: Date.parse(one.startTime), endedMs: one.endTime ? Date.parse(one.endTime) : null, steps: null,
      };
      this.listed.set(run.id, run);
      bounded(this.listed, RUNS_MAX);
      this.#read(run.id); // how it went says only its history
    }
    this.#change();
    return told.next;
  }

  /** The workflows that are defined, the first of them by their ids. Throws Refused. */
  async workflows() {
    return (await ask(this.base, `/workflow/?limit=${WORKFLOWS_PAGE}`)).items;
  }

  /** A run as the gateway shows it: values whole, and why nothing happens. Throws Refused. */
  async shown(id) {
    return ask(this.base, `/workflow/run/${encodeURIComponent(id)}`);
  }

  // --- triggers

  /** Starts a run: shown at once, then confirmed by its event or taken back by a refusal. */
  trigger(workflow, input) {
    const one = { key: unique(), workflow, input, status: "sending", detail: "", run: null, atMs: this.now(), tries: 0 };
    this.pending.set(one.key, one);
    this.#change();
    this.#send(one);
    return one;
  }

  async #send(one) {
    one.tries += 1;
    try {
      const path = `/workflow/${encodeURIComponent(one.workflow)}/trigger`;
      const told = await ask(this.base, path, { method: "POST", body: { input: one.input }, headers: { "Idempotency-Key": one.key } });
      const run = typeof told === "string" ? told : told?.runId;
      // The event is what confirms it; the answer names the run where the event comes later.
      if (!this.pending.has(one.key)) return;
      this.#settlePending(one.key, this.runs.has(run) ? { status: "started", run } : { status: "accepted", run });
      // Where it does not come, as when the connection began anew meanwhile, the run itself is asked.
      setTimeout(() => this.pending.has(one.key) && this.#read(run), ACCEPTED_MS);
    } catch (refused) {
      if (!this.pending.has(one.key)) return; // its event was here first
      // With the same key a repetition starts nothing twice, so what is unsure is asked again.
      if ((refused.status === 0 || refused.status >= 500) && one.tries < AGAIN_MAX) {
        this.#settlePending(one.key, { status: "unsure", detail: `${refused.message} Trying again…` });
        setTimeout(() => this.#send(one), 500 * 2 ** one.tries);
      } else {
        const unsure = refused.status === 0 ? " Nobody knows whether it was started." : "";
        this.#settlePending(one.key, { status: "refused", detail: refused.message + unsure });
      }
    }
  }

  #settlePending(key, changes) {
    const one = Object.assign(this.pending.get(key), changes);
    if (one.status === "started" || one.status === "refused") this.pending.delete(key);
    this.dispatchEvent(new CustomEvent("trigger", { detail: one }));
    this.#change();
  }

  /** Ends a run, or has a failed one go on. Throws Refused. */
  async act(id, what) {
    await ask(this.base, `/workflow/run/${encodeURIComponent(id)}/${what}`, { method: "POST", body: {} });
  }

  #change() {
    if (this.#changed) return;
    this.#changed = true;
    queueMicrotask(() => {
      this.#changed = false;
      this.dispatchEvent(new Event("change"));
    });
  }
}

export { baseOf };
