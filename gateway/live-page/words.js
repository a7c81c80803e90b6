// Each kind of event in words, for people who follow many. Pure; values are shown as text.

import { lasted, shown } from "./forms.js";

/** `[word, colour, sentence]`. */
export function words(event) {
  const known = WORDS[event.kind];
  return known ? known(event) : [event.kind, "", event.step ?? ""];
}

const value = (event, name) => {
  if (event.cut?.includes(name)) return "(too large to be shown here)";
  return event[name] === undefined || event[name] === null ? "" : shown(event[name]);
};
const failure = (told) => (told.message ? `${told.code}: ${told.message}` : told.code);
const where = (event) => (event.provider ? ` at ${event.provider}${event.region ? `/${event.region}` : ""}` : "");
const joined = (...parts) => parts.filter(Boolean).join(" · ");

const WORDS = {
  "run.triggered": (e) => ["triggered", "", joined(`version ${e.version}`, value(e, "input"))],
  "run.started": () => ["started", "busy", "the run begins"],
  "step.started": (e) => ["step", "busy", joined(e.step, value(e, "input"))],
  "attempt.started": (e) => ["attempt", "busy", joined(e.step, `attempt ${e.attempt}${where(e)}`)],
  "attempt.failed": (e) => [e.failure.blame === "time" ? "timeout" : "failed attempt", "bad", joined(e.step, `attempt ${e.attempt}`, failure(e.failure))],
  "attempt.late": (e) => ["late", "warn", joined(e.step, `attempt ${e.attempt} answered ${e.status} after it was given up`)],
  "retry.scheduled": (e) => ["retry", "warn", joined(e.step, `attempt ${e.attempt} in ${lasted(e.delayMs)}`)],
  "step.failover": (e) => ["failover", "move", joined(e.step, `${e.left} → ${e.taken}`)],
  "step.completed": (e) => ["step done", "good", joined(e.step, value(e, "output"))],
  "step.failed": (e) => ["step failed", "bad", joined(e.step, failure(e.failure))],
  "choice.taken": (e) => ["choice", "move", `${e.step} → ${e.next}`],
  "parallel.started": (e) => ["parallel", "move", joined(e.step, e.branches.join(", "))],
  "branch.joined": (e) => ["branch", "", `${e.branch} came to ${e.step}`],
  "join.completed": (e) => ["join", "good", e.step],
  "run.completed": (e) => ["completed", "good", value(e, "output")],
  "run.failed": (e) => ["failed", "bad", joined(e.step, failure(e.failure))],
  "run.cancelled": (e) => ["cancelled", "warn", joined(e.reason, e.who && `by ${e.who}`)],
  "run.retried": (e) => ["retried", "move", joined(e.steps.join(", "), e.who && `by ${e.who}`)],
};
