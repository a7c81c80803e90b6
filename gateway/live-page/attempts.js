// What was tried at a step: as a table, in sentences for who does not see the picture, and in a few words. Of very
// many attempts the newest are shown.

import { clock, cut, lasted, plain } from "./forms.js";
import { h, plural } from "./part.js";

export const ATTEMPTS_MAX = 200;
const TOLD_MAX = 12;
const TEXT_MAX = 20000;
const MESSAGE_MAX = 300;

export const OUTCOMES = { completed: "completed", failed: "failed", timeout: "not answered in time", left: "not waited for" };
const COLOURS = { completed: "good", failed: "bad", timeout: "bad", left: "" };

/** Attempts, with what was between them: `[{tried} | {text}]`, and how many of the first are left out. */
function course(one, max, waited, moved) {
  const left = Math.max(0, one.attempts.length - max);
  const from = left ? one.attempts[left].startedMs : -Infinity;
  const between = [
    ...one.pauses.map((pause) => [pause.fromMs, waited(pause)]),
    ...one.moves.map((to) => [to.atMs, moved(to)]),
  ].filter(([atMs]) => atMs >= from).sort((a, b) => a[0] - b[0]);
  const found = [];
  for (const tried of one.attempts.slice(left)) {
    while (between.length && between[0][0] <= tried.startedMs) found.push({ text: between.shift()[1] });
    found.push({ tried });
  }
  return { left, found: [...found, ...between.map(([, text]) => ({ text }))] };
}

/** The attempts as a table. */
export function attempts(one) {
  const { left, found } = course(one, ATTEMPTS_MAX, (pause) => `waited ${lasted(pause.delayMs)}, then tried again`, (to) => `went over from ${to.left} to ${to.taken}`);
  const body = h("tbody", { role: "rowgroup" });
  if (left) body.append(between(`${plural(left, "attempt")} before; the events below have them`));
  for (const { tried, text } of found) body.append(tried ? row(tried) : between(`↓ ${text}`));
  const head = ["#", "Where", "Took", "Outcome", "Why"].map((one) => h("th", { scope: "col", role: "columnheader" }, one));
  return h("table", { class: "attempts", role: "table" }, h("caption", { class: "unseen" }, `Attempts at ${one.id}`), h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...head)), body);
}

function row(tried) {
  const cell = (attributes, ...children) => h("td", { role: "cell", ...attributes }, ...children);
  const took = cell({ class: "lasted" });
  if (tried.endedMs === null) took.dataset.since = tried.startedMs;
  else took.textContent = lasted(tried.endedMs - tried.startedMs);
  const why = cell({ class: "why", dir: "auto" });
  if (tried.failure) why.append(failureOf(tried.failure));
  if (tried.late) why.append(h("p", { class: "late-answer" }, `▾ An answer (${tried.late.status}) came at ${clock(tried.late.atMs)}, after it was given up.`));
  if (tried.failure) why.append(...details(tried.failure.message, tried.failure.details));
  return h("tr", { role: "row" }, cell({}, `${tried.number}`), cell({ dir: "auto" }, tried.where), took, cell({}, h("span", { class: `badge ${COLOURS[tried.outcome] ?? "busy"}` }, OUTCOMES[tried.outcome] ?? "at work")), why);
}

/** A message as it fits beside others. */
export const short = (message) => cut(plain(message), MESSAGE_MAX);

const failureOf = ({ code, message }) => (message ? `${plain(code)}: ${short(message)}` : plain(code));

/** What is to be unfolded of a failure: its details, and its message where that is too long. */
export function details(message, more) {
  const unfolded = (name, text) => h("details", {}, h("summary", {}, name), h("pre", { tabindex: "0", role: "group", "aria-label": name, dir: "auto" }, cut(plain(text), TEXT_MAX)));
  return [message?.length > MESSAGE_MAX && unfolded("The whole message", message), more && unfolded("Details", more)].filter(Boolean);
}

const between = (text) => h("tr", { class: "between", role: "row" }, h("td", { role: "cell" }), h("td", { role: "cell", colspan: "4", dir: "auto" }, text));

/** A step in sentences. */
export function story(one) {
  const told = [];
  const { left, found } = course(one, TOLD_MAX, (pause) => `It waited ${lasted(pause.delayMs)}.`, (to) => `It went over from ${to.left} to ${to.taken}.`);
  if (left) told.push(`${plural(left, "attempt")} before.`);
  for (const { tried, text } of found) {
    if (text) {
      told.push(text);
      continue;
    }
    const took = tried.endedMs === null ? "" : ` after ${lasted(tried.endedMs - tried.startedMs)}`;
    told.push(`Attempt ${tried.number}${tried.where ? ` at ${tried.where}` : ""}: ${OUTCOMES[tried.outcome] ?? "at work"}${took}${tried.failure ? `, ${tried.failure.code} ${cut(tried.failure.message ?? "", 200)}` : ""}.`);
    if (tried.late) told.push("Its answer came too late.");
  }
  const branch = one.lane.length ? ` In branch ${one.lane.map((index) => index + 1).join(".")}.` : "";
  return `${one.status}.${branch} ${told.join(" ")}`;
}

/** A step in a few words. */
export function hint(one) {
  if (one.kind === "choice") return `choice → ${one.note}`;
  if (one.kind === "parallel") return plural(Number(one.note), "branch", "branches");
  if (one.kind === "join") return "join";
  const last = one.attempts.at(-1);
  if (!last) return "";
  const moved = one.moves.length ? [one.moves[0].left, ...one.moves.map((to) => to.taken)].join(" → ") : last.where === one.id ? "" : last.where;
  return [one.attempts.length > 1 ? plural(one.attempts.length, "attempt") : "", moved].filter(Boolean).join(" · ");
}
