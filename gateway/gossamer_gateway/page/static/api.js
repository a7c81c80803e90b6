// Asks the gateway. Where its door wants to know who asks, a person enters an API key; it is kept in
// sessionStorage, so for this tab, until that is closed, and it is sent to this gateway alone.

const KEY = "gossamer.key";

export const key = () => sessionStorage.getItem(KEY);

export function setKey(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

export const doors = new EventTarget();

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function headers(more = {}) {
  return key() ? { ...more, "X-API-Key": key() } : more;
}

/** The JSON of an answer. Throws Refused with the gateway's own sentence. */
export async function ask(path, { method = "GET", body } = {}) {
  const options = { method, headers: headers(body ? { "Content-Type": "application/json" } : {}) };
  if (body) options.body = JSON.stringify(body);
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Refused(0, "This gateway does not answer.");
  }
  if (answer.status === 401) doors.dispatchEvent(new Event("closed"));
  const text = await answer.text();
  let told = null;
  try {
    told = text ? JSON.parse(text) : null;
  } catch {
    // what is between here and the gateway may answer anything
  }
  if (!answer.ok) {
    throw new Refused(answer.status, told?.detail ?? told?.message ?? `The gateway answers ${answer.status}.`);
  }
  return told;
}
