// Each kind of event in words, for people who follow many. Pure; values are shown as text.

import { lasted, plain, shown } from "./forms.js";

/**
 * `[word, colour, sentence, parts]`; the sentence is its parts, each of which may be of another language and is to be
 * isolated from the others. Of an event that is not as it should be there is its kind.
 */
export function words(event) {
  try {
    const [word, colour, ...parts] = WORDS[event.kind]?.(event) ?? [String(event.kind), "", event.step];
    const told = parts.filter(Boolean).map(plain);
    return [word, colour, told.join(" · "), told];
  } catch {
    return [String(event.kind), "", "", []];
  }
}

const value = (event, name) => {
  if (event.cut?.includes(name)) return "(too large to be shown here)";
  return event[name] === undefined || event[name] === null ? "" : shown(event[name]);
};
const failure = (told) => (told.message ? `${told.code}: ${told.message}` : told.code);
const where = (event) => (event.provider ? ` at ${event.provider}${event.region ? `/${event.region}` : ""}` : "");

const WORDS = {
  __proto__: null,
  "run.triggered": (e) => ["triggered", "", `version ${e.version}`, value(e, "input")],
  "run.started": () => ["started", "busy", "the run begins"],
  "step.started": (e) => ["step", "busy", e.step, value(e, "input")],
  "attempt.started": (e) => ["attempt", "busy", e.step, `attempt ${e.attempt}${where(e)}`],
  "attempt.failed": (e) => [e.failure.blame === "time" ? "timeout" : "failed attempt", "bad", e.step, `attempt ${e.attempt}`, failure(e.failure)],
  "attempt.late": (e) => ["late", "warn", e.step, `attempt ${e.attempt} answered ${e.status} after it was given up`],
  "retry.scheduled": (e) => ["retry", "warn", e.step, `attempt ${e.attempt} in ${lasted(e.delayMs)}`],
  "step.failover": (e) => ["failover", "move", e.step, `${e.left} → ${e.taken}`],
  "step.completed": (e) => ["step done", "good", e.step, value(e, "output")],
  "step.failed": (e) => ["step failed", "bad", e.step, failure(e.failure)],
  "choice.taken": (e) => ["choice", "move", `${e.step} → ${e.next}`],
  "parallel.started": (e) => ["parallel", "move", e.step, e.branches.join(", ")],
  "branch.joined": (e) => ["branch", "", `${e.branch} came to ${e.step}`],
  "join.completed": (e) => ["join", "good", e.step],
  "run.completed": (e) => ["completed", "good", value(e, "output")],
  "run.failed": (e) => ["failed", "bad", e.step, failure(e.failure)],
  "run.cancelled": (e) => ["cancelled", "warn", e.reason, e.who && `by ${e.who}`],
  "run.retried": (e) => ["retried", "move", e.steps.join(", "), e.who && `by ${e.who}`],
};
