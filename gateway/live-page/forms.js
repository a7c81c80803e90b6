// Times and values as people read them. Pure.

/** `340 ms`, `4.2 s`, `3 min 5 s`, `2 h 4 min`, `3 d 1 h`. */
export function lasted(ms) {
  const all = Math.max(0, Math.round(ms));
  if (all < 1000) return `${all} ms`;
  if (all < 60000) return `${(all / 1000).toFixed(all < 10000 ? 2 : 1)} s`;
  const seconds = Math.floor(all / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

/** `14:03:07.250`, where it is today; else with the day before. */
export function clock(ms, { millis = true } = {}) {
  const at = new Date(ms);
  const pad = (value, width = 2) => String(value).padStart(width, "0");
  const time = `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}${millis ? `.${pad(at.getMilliseconds(), 3)}` : ""}`;
  const day = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
  const now = new Date();
  return at.toDateString() === now.toDateString() ? time : `${day} ${time}`;
}

/** A moment as a whole, for who wants to know it exactly: with its day and zone. */
export const moment = (ms) => new Date(ms).toLocaleString("en", { dateStyle: "full", timeStyle: "long", hour12: false });

// What turns the direction of all text behind it could make a name look like another: it is written as JSON may
// write it. What only joins letters, as in Persian and in emoji, stays.
const TURNS = /[\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufeff]/g;

/** A text in which they are seen. */
export const plain = (text) => String(text ?? "").replace(TURNS, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** JSON in which every character that does something is seen. */
export function json(value, indent) {
  return plain(JSON.stringify(value, null, indent));
}

/** A text of at most so many characters; a pair that is one character is not cut in two. */
export function cut(text, max) {
  if (text.length <= max) return text;
  const end = max - ((text.charCodeAt(max - 1) & 0xfc00) === 0xd800);
  return `${text.slice(0, end)}…`;
}

/** A value as text for people, cut where it is long. */
export const shown = (value, max = 160) => (value === undefined ? "" : cut(json(value), max));

/** `512 bytes`, `3.4 KB`, `1.2 MB`. */
export function sized(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${(bytes / 1000).toFixed(1)} KB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
