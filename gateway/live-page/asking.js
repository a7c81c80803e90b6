// Asks a gateway over HTTP. A key is kept as the operations page keeps it, in sessionStorage, where the
// gateway is this page's own; of another one it is in memory alone, since the storage of a page that
// embeds us is not ours.

const STORED = "gossamer.key";
const keys = new Map();

export const doors = new EventTarget();

/** The base of a gateway's URLs, from an attribute; the page's own where there is none. */
export const baseOf = (text) => (text ? new URL(text, location.href).href.replace(/\/+$/, "") : location.origin);

export function keyOf(base) {
  if (keys.has(base)) return keys.get(base);
  try {
    return base === location.origin ? sessionStorage.getItem(STORED) : null;
  } catch {
    return null; // a page in a sandbox has no storage
  }
}

/** Who asks a gateway from now on; empty: nobody in particular. */
export function setKey(base, key) {
  if (base === location.origin) {
    try {
      if (key) sessionStorage.setItem(STORED, key);
      else sessionStorage.removeItem(STORED);
    } catch {
      // then it is in memory alone
    }
  }
  if (key) keys.set(base, key);
  else keys.delete(base);
  doors.dispatchEvent(new CustomEvent("key", { detail: base }));
}

/** A refusal in the gateway's own sentence. `status` 0: nothing answered. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function headersOf(base, more = {}) {
  const key = keyOf(base);
  return key ? { ...more, "X-API-Key": key } : more;
}

/** The JSON of an answer. Throws Refused. */
export async function ask(base, path, { method = "GET", body, headers = {} } = {}) {
  const options = { method, headers: headersOf(base, { Accept: "application/json", ...headers }) };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  let text;
  try {
    answer = await fetch(base + path, options);
    text = await answer.text();
  } catch {
    throw new Refused(0, "The gateway does not answer.");
  }
  if (answer.status === 401) doors.dispatchEvent(new CustomEvent("closed", { detail: base }));
  let told = null;
  try {
    told = text ? JSON.parse(text) : null;
  } catch {
    // what is between here and the gateway may answer anything
  }
  if (!answer.ok) throw new Refused(answer.status, told?.detail ?? told?.message ?? `The gateway answers ${answer.status}.`);
  return told;
}

/** A name that nobody else gives; also where a page is not served over TLS. */
export function unique() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((one) => one.toString(16).padStart(2, "0")).join("");
}
