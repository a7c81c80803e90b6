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

/** A value as text for people, cut where it is long. */
export function shown(value, max = 160) {
  if (value === undefined) return "";
  const text = typeof value === "string" ? JSON.stringify(value) : (JSON.stringify(value) ?? "");
  return text.length > max ? `${text.slice(0, max)}…` : text;
}
