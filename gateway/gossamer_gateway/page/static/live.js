// The mesh as it is now: the whole picture first, then each change, over a WebSocket. Where something
// between here and the gateway lets none through, the same comes as server-sent events.

import { ask, headers, key } from "./api.js";

const FEED_MAX = 100;
const PAUSE_MS_MAX = 8000;
const RATE_MS = 10000;

export const store = {
  state: "connecting",
  name: "",
  version: "",
  gateway: "",
  nodes: new Map(),
  services: new Map(),
  leases: new Map(),
  engines: new Map(),
  feed: [],
  beyond: { services: 0, leases: 0 },
  rates: [],
};

export const changes = new EventTarget();
const told = new Set();

/** Told at the end of a batch, once for each kind of thing that changed. */
function announce() {
  for (const kind of told) changes.dispatchEvent(new Event(kind));
  told.clear();
}

export function follow(part, ...kinds) {
  for (const kind of kinds) changes.addEventListener(kind, () => part.redraw());
}

export const present = (node) => node.state === "alive" || node.state === "suspect";

export function nodeName(id) {
  return id === null ? null : (store.nodes.get(id)?.name ?? `${id.slice(0, 8)} (gone)`);
}

const TABLES = { node: "nodes", lease: "leases", service: "services", engine: "engines" };

function take(message) {
  if (message.kind === "picture") {
    const { data } = message;
    Object.assign(store, { name: data.name, version: data.version, gateway: data.gateway });
    const by = (items, key) => new Map(items.map((one) => [one[key], one]));
    store.nodes = by(data.nodes, "id");
    store.leases = by(data.leases, "id");
    store.services = by(data.services, "name");
    store.engines = by(data.engines, "name");
    store.beyond = {
      services: data.services_total - data.services.length,
      leases: data.leases_total - data.leases.length,
    };
    for (const kind of ["state", "nodes", "leases", "services", "engines"]) told.add(kind);
  } else if (message.kind === "events") {
    for (const event of message.events) change(event);
  }
  rate();
  announce();
}

function change(event) {
  const [thing, what] = event.kind.split(".");
  const table = TABLES[thing];
  const before = table ? store[table].get(event.subject) : undefined;
  if (table) {
    if (event.data === null) store[table].delete(event.subject);
    else store[table].set(event.subject, event.data);
    told.add(table);
  } else {
    told.add(thing);
  }
  if ((what !== "changed" || thing === "route") && event.kind !== "node.forgotten") {
    store.feed.unshift({ ...event, before });
    store.feed.length = Math.min(store.feed.length, FEED_MAX);
    told.add("feed");
  }
}

/** Jobs that claimers have settled, and when that was so. */
function rate() {
  let settled = 0;
  for (const node of store.nodes.values()) {
    for (const one of Object.values(node.claimed)) settled += one.settled;
  }
  const now = Date.now();
  const last = store.rates.at(-1);
  if (last && settled < last[1]) store.rates = [];
  if (!last || now - last[0] > 500) store.rates.push([now, settled]);
  while (store.rates.length > 1 && store.rates[0][0] < now - RATE_MS) store.rates.shift();
}

/** Jobs settled in a second, of late; null: not known yet. */
export function perSecond() {
  const [first, last] = [store.rates[0], store.rates.at(-1)];
  return first && last && last[0] - first[0] > 900 ? (last[1] - first[1]) / ((last[0] - first[0]) / 1000) : null;
}

function is(state) {
  store.state = state;
  told.add("state");
  announce();
}

/** Connects, and again whenever the connection ends. */
export async function run() {
  let pause = 250;
  let sockets = true;
  for (;;) {
    const began = Date.now();
    const opened = await (sockets ? socket() : stream());
    if (opened && Date.now() - began > 2000) pause = 250;
    is("away");
    if (!opened) {
      try {
        await ask("/v1/nodes?limit=1");
        sockets = !sockets;
      } catch (refused) {
        if (refused.status === 401) await new Promise((go) => addEventListener("gossamer-key", go, { once: true }));
      }
    }
    await new Promise((go) => setTimeout(go, pause));
    pause = Math.min(PAUSE_MS_MAX, pause * 2);
  }
}

function socket() {
  return new Promise((end) => {
    const url = new URL("/v1/events", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    let opened = false;
    let one;
    try {
      // A browser gives a WebSocket no header: the key goes where the door looks for it.
      one = new WebSocket(url, ["gossamer", ...(key() ? [`gossamer.bearer.${key()}`] : [])]);
    } catch {
      end(false);
      return;
    }
    one.onmessage = (message) => {
      if (!opened) is("live");
      opened = true;
      take(JSON.parse(message.data));
    };
    one.onclose = () => end(opened);
  });
}

async function stream() {
  let opened = false;
  try {
    const answer = await fetch("/v1/events", { headers: headers({ Accept: "text/event-stream" }) });
    if (!answer.ok) return false;
    const lines = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await lines.read();
      if (done) return opened;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const data = part.split("\n").find((one) => one.startsWith("data: "));
        if (!data) continue;
        const message = JSON.parse(data.slice(6));
        if (!opened) is("live");
        opened = true;
        take(part.includes("event: picture") ? { kind: "picture", data: message } : { kind: "events", events: [message] });
      }
    }
  } catch {
    return opened;
  }
}
