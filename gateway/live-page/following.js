// One connection to a gateway's `/workflow/events` for all components of a page. It has a cursor in every
// frame, and comes again from the last one, so it misses nothing and is given nothing twice.
//
// It is a WebSocket. Where the gateway answers requests and no WebSocket opens, something between lets none
// through, and the same frames come as server-sent events. Each coming again tries a WebSocket first: a browser
// has six connections to a host for all its tabs, and a stream takes one of them, a WebSocket none.

import { ask, doors, headersOf, keyOf } from "./asking.js";

const PAUSE_MS = 250;
const PAUSE_MS_MAX = 8000;
const QUIET_MS_MAX = 40000; // the gateway says something every 15 s
const OPENING_MS_MAX = 10000; // and something at once; some proxies hold what they do not know
const STREAMING = "Something between here and the gateway lets no WebSocket through. The same comes as server-sent events.";

/**
 * Follows until closed. `hear` is told of each frame, `state` of "connecting", "live", "away" and "closed" (a key
 * is wanted), `lost` that the cursor is no good any more and what was between is not to be had as events.
 */
export class Following {
  #base;
  #query = "";
  #first = "now";
  #hear;
  #state;
  #lost;
  #cursor = null;
  #stop = null;
  #sockets = true;
  #pause = PAUSE_MS;
  #wake = null;
  #running = false;
  #turn = 0; // of two loops, as after a quick end and beginning, only the newer one goes on
  #refusal = null;

  constructor(base, { hear, state, lost }) {
    this.#base = base;
    this.#hear = hear;
    this.#state = state;
    this.#lost = lost;
    doors.addEventListener("key", (event) => {
      if (event.detail !== base) return;
      this.#pause = PAUSE_MS;
      this.#stop?.();
      this.#wake?.();
    });
    // A laptop that wakes, or a network that is back, does not wait for the pause to end.
    addEventListener("online", () => this.#wake?.());
  }

  get cursor() {
    return this.#cursor;
  }

  /** Which events from now on. `first` is where to begin if this has not begun yet. */
  want(query, first) {
    if (this.#running && query === this.#query) return;
    this.#query = query;
    if (!this.#cursor) this.#first = first;
    if (this.#running) this.#stop?.();
    else this.#run();
  }

  /** Comes again at once, where it waits. */
  hurry() {
    this.#pause = PAUSE_MS;
    this.#wake?.();
  }

  close() {
    this.#running = false;
    this.#turn += 1;
    this.#cursor = null;
    this.#stop?.();
    this.#wake?.();
  }

  async #run() {
    this.#running = true;
    const turn = (this.#turn += 1);
    this.#state("connecting");
    while (this.#turn === turn) {
      const began = Date.now();
      const key = keyOf(this.#base);
      const { opened, told } = await (this.#sockets ? this.#socket() : this.#stream());
      if (this.#turn !== turn) break;
      if (told === "asked") continue; // somebody wants other events: at once, from the cursor
      if (told === "behind") {
        this.#state("away");
        await this.#wait(PAUSE_MS);
        continue;
      }
      if (told === "refused") {
        if (this.#refusal.status === 401 || this.#refusal.status === 403) {
          await this.#another(key, this.#refusal.detail);
          continue;
        }
        if (this.#refusal.status < 500 && (this.#cursor || this.#first !== "now")) {
          this.#cursor = null;
          this.#first = "now";
          this.#lost();
          continue;
        }
      }
      if (opened && Date.now() - began > 2000) this.#pause = PAUSE_MS;
      if (opened || !this.#sockets) {
        this.#sockets = true;
      } else {
        const reached = await this.#reached(key);
        if (reached === null) continue; // it wants a key, and somebody gave one
        if (reached) {
          this.#sockets = false;
          continue;
        }
      }
      this.#state("away");
      await this.#wait(this.#pause * (0.75 + Math.random() / 2));
      this.#pause = Math.min(PAUSE_MS_MAX, this.#pause * 2);
    }
  }

  /** Whether the gateway answers at all; a browser does not say why a WebSocket was refused. Null: it asks for a key. */
  async #reached(key) {
    try {
      await ask(this.#base, "/workflow/runs?limit=1");
    } catch (refused) {
      if (refused.status === 401) {
        await this.#another(key, refused.message);
        return null;
      }
      return refused.status === 403; // it lets this key see less than that
    }
    return true;
  }

  /** Waits for another key than was refused: not where it was given while nobody waited for it yet. */
  async #another(key, detail) {
    if (keyOf(this.#base) !== key) return;
    this.#state("closed", detail);
    await this.#wait(Infinity);
  }

  #wait(ms) {
    return new Promise((go) => {
      const timer = ms === Infinity ? null : setTimeout(go, ms);
      this.#wake = () => {
        clearTimeout(timer);
        go();
      };
    }).finally(() => (this.#wake = null));
  }

  #url() {
    const from = `from=${encodeURIComponent(this.#cursor ?? this.#first)}`;
    return `${this.#base}/workflow/events?${[from, this.#query].filter(Boolean).join("&")}`;
  }

  /** Takes a frame; returns its kind where it is a last one. What is no frame ends the connection. */
  #take(text) {
    const frame = JSON.parse(text);
    if (frame.kind === "refused") this.#refusal = frame;
    if (frame.kind === "behind" || frame.kind === "refused") {
      if (frame.cursor) this.#cursor = frame.cursor;
      return frame.kind;
    }
    if (frame.kind === "live") this.#state("live", this.#sockets ? "" : STREAMING);
    this.#hear(frame);
    if (frame.cursor) this.#cursor = frame.cursor;
    return null;
  }

  #socket() {
    return new Promise((end) => {
      const url = this.#url().replace(/^http/, "ws");
      const key = keyOf(this.#base);
      let opened = false;
      let told = null;
      let watch = null;
      let one;
      try {
        // A browser gives a WebSocket no header: the key goes where the door looks for it.
        one = new WebSocket(url, ["gossamer", ...(key ? [`gossamer.bearer.${key}`] : [])]);
      } catch {
        end({ opened, told });
        return;
      }
      const over = () => {
        clearTimeout(watch);
        this.#stop = null;
        one.onmessage = one.onclose = null;
        one.close();
        end({ opened, told });
      };
      const alive = () => {
        clearTimeout(watch);
        watch = setTimeout(over, opened ? QUIET_MS_MAX : OPENING_MS_MAX);
      };
      this.#stop = () => {
        told = "asked";
        over();
      };
      alive();
      one.onmessage = (message) => {
        opened = true;
        alive();
        try {
          told = this.#take(message.data) ?? told;
        } catch {
          over(); // no frame of ours: it comes again from the last one that was
        }
      };
      one.onclose = over;
    });
  }

  /** The same as server-sent events. */
  async #stream() {
    const stopper = new AbortController();
    let opened = false;
    let told = null;
    let watch = null;
    const alive = () => {
      clearTimeout(watch);
      watch = setTimeout(() => stopper.abort(), opened ? QUIET_MS_MAX : OPENING_MS_MAX);
    };
    this.#stop = () => {
      told = "asked";
      stopper.abort();
    };
    alive();
    try {
      const headers = headersOf(this.#base, { Accept: "text/event-stream" });
      const answer = await fetch(this.#url(), { headers, signal: stopper.signal });
      if (!answer.ok) {
        this.#refusal = { status: answer.status, detail: (await answer.json().catch(() => null))?.detail ?? "" };
        return { opened, told: "refused" };
      }
      const lines = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await lines.read();
        if (done) break;
        const parts = (rest + value).split("\n\n");
        rest = parts.pop();
        for (const part of parts) {
          const data = part.split("\n").find((one) => one.startsWith("data: "));
          if (!data) continue;
          opened = true;
          told = this.#take(data.slice(6)) ?? told;
        }
        alive();
      }
    } catch {
      stopper.abort(); // it ended, one way or another
    } finally {
      clearTimeout(watch);
      this.#stop = null;
    }
    return { opened, told };
  }
}
