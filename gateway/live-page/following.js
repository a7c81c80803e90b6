// One connection to a gateway's `/workflow/events` for all components of a page. It has a cursor in every
// frame, and comes again from the last one, so it misses nothing and is given nothing twice.

import { ask, doors, headersOf, keyOf } from "./asking.js";

const PAUSE_MS = 250;
const PAUSE_MS_MAX = 8000;
const QUIET_MS_MAX = 40000; // the gateway says something every 15 s

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

  close() {
    this.#running = false;
    this.#cursor = null;
    this.#stop?.();
    this.#wake?.();
  }

  async #run() {
    this.#running = true;
    this.#state("connecting");
    while (this.#running) {
      const began = Date.now();
      const { opened, told } = await (this.#sockets ? this.#socket() : this.#stream());
      if (!this.#running) break;
      if (told === "asked") continue; // somebody wants other events: at once, from the cursor
      if (told === "behind") {
        this.#state("away");
        await this.#wait(PAUSE_MS);
        continue;
      }
      if (told === "refused") {
        if (this.#refusal.status === 403) {
          this.#state("closed", this.#refusal.detail);
          await this.#wait(Infinity);
          continue;
        }
        if (this.#cursor || this.#first !== "now") {
          this.#cursor = null;
          this.#first = "now";
          this.#lost();
          continue;
        }
      }
      if (opened && Date.now() - began > 2000) this.#pause = PAUSE_MS;
      this.#state("away");
      if (!opened && !(await this.#mayAsk())) {
        await this.#wait(Infinity);
        continue;
      }
      await this.#wait(this.#pause * (0.75 + Math.random() / 2));
      this.#pause = Math.min(PAUSE_MS_MAX, this.#pause * 2);
    }
  }

  /** Whether there is a use in coming again by itself. A browser does not say why a WebSocket was refused. */
  async #mayAsk() {
    try {
      await ask(this.#base, "/workflow/runs?limit=1");
      this.#sockets = !this.#sockets; // the gateway is there, and something lets this way not through
    } catch (refused) {
      if (refused.status === 401 || refused.status === 403) {
        this.#state("closed", refused.message);
        return false;
      }
    }
    return true;
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

  #take(text) {
    const frame = JSON.parse(text);
    if (frame.cursor) this.#cursor = frame.cursor;
    if (frame.kind === "refused") this.#refusal = frame;
    if (frame.kind === "behind" || frame.kind === "refused") return frame.kind;
    if (frame.kind === "live") this.#state("live");
    this.#hear(frame);
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
        watch = setTimeout(over, QUIET_MS_MAX);
      };
      this.#stop = () => {
        told = "asked";
        over();
      };
      alive();
      one.onmessage = (message) => {
        opened = true;
        alive();
        told = this.#take(message.data) ?? told;
      };
      one.onclose = over;
    });
  }

  /** The same as server-sent events, where something between here and the gateway lets no WebSocket through. */
  async #stream() {
    const stopper = new AbortController();
    let opened = false;
    let told = null;
    this.#stop = () => {
      told = "asked";
      stopper.abort();
    };
    try {
      const headers = headersOf(this.#base, { Accept: "text/event-stream" });
      const answer = await fetch(this.#url(), { headers, signal: stopper.signal });
      if (answer.status === 400 || answer.status === 404) this.#refusal = { status: answer.status };
      if (!answer.ok) return { opened, told: answer.status === 400 ? "refused" : null };
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
      }
    } catch {
      // it ended, one way or another
    } finally {
      this.#stop = null;
    }
    return { opened, told };
  }
}
