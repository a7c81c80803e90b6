// A run as the sum of its events: the same fold as the gateway's own (runs/model/run.py), so that a
// page that has seen the events has the run. Pure; a state is never changed in place. Tests hold it
// to the gateway's with histories made at random.

export const PENDING = "Pending";
export const RUNNING = "Running";
export const COMPLETED = "Completed";
export const FAILED = "Failed";
export const CANCELLED = "Cancelled";
export const WAITING = "Waiting";
export const LEFT = "Left";

const HEARD_MAX = 100;

/** An event that cannot follow: events between are missing, or it came before. */
export class OutOfPlace extends Error {}

export const hasEnded = (status) => status !== PENDING && status !== RUNNING;
const isOpen = (step) => step.status === RUNNING || step.status === WAITING;

/** The run that these events make, in order and complete. */
export function fold(events) {
  let run = null;
  for (const event of events) run = evolve(run, event);
  if (run === null) throw new OutOfPlace("there is no event, so there is no run");
  return run;
}

/** The state after an event. A kind that is not known here changes nothing but the number. */
export function evolve(run, event) {
  if (run === null) {
    if (event.kind !== "run.triggered" || event.seq !== 1) {
      throw new OutOfPlace(`a run begins with run.triggered, not with ${event.kind} ${event.seq}`);
    }
    return {
      id: event.run, workflow: event.workflow, version: event.version, status: PENDING, seq: 1,
      triggeredMs: event.atMs, input: event.input ?? null, executor: event.executor ?? "own",
      key: event.key ?? null, place: null, output: null, failure: null, startedMs: null, endedMs: null,
      steps: {}, joins: {}, late: 0,
    };
  }
  if (event.run !== run.id || event.seq !== run.seq + 1) {
    throw new OutOfPlace(`${event.run} ${event.seq} does not follow ${run.id} ${run.seq}`);
  }
  const known = KINDS[event.kind];
  if (!known) return { ...run, seq: event.seq };
  const [allowed, change] = known;
  if (!allowed(run.status)) throw new OutOfPlace(`a run that is ${run.status} takes no ${event.kind}`);
  const inStep = IN_STEP[event.kind];
  if (inStep && !inStep.includes(run.steps[event.step]?.status ?? null)) {
    throw new OutOfPlace(`step ${event.step}, ${run.steps[event.step]?.status ?? "not begun"}, takes no ${event.kind}`);
  }
  return change({ ...run, seq: event.seq }, event);
}

function newStep(status, event, more) {
  return {
    status, begunMs: event.atMs, input: null, output: null, attempt: 0, place: 0, tries: 0, dueMs: null,
    endedMs: null, failure: null, heard: [], taken: null, job: null, ...more,
  };
}

function step(run, event, changes) {
  return { ...run, steps: { ...run.steps, [event.step]: { ...run.steps[event.step], ...changes } } };
}

/** A run with a step in it that took no time. */
function done(run, event, value, taken = null) {
  const state = newStep(COMPLETED, event, { input: value, output: value, endedMs: event.atMs, taken });
  return { ...run, steps: { ...run.steps, [event.step]: state } };
}

function ended(run, event, status, changes = {}) {
  const steps = {};
  for (const [id, one] of Object.entries(run.steps)) {
    steps[id] = isOpen(one) ? { ...one, status: LEFT, dueMs: null, endedMs: event.atMs } : one;
  }
  return { ...run, status, endedMs: event.atMs, steps, ...changes };
}

function heard(run, event) {
  const known = run.steps[event.step];
  return { heard: [...known.heard.filter((one) => one > known.attempt - HEARD_MAX), event.attempt] };
}

function atWork(run, event) {
  if (event.attempt !== run.steps[event.step].attempt) throw new OutOfPlace(`attempt ${event.attempt} of ${event.step} is not at work`);
}

const failure = (told) =>
  told && { code: told.code, message: told.message ?? "", blame: told.blame ?? "worker", retryable: told.retryable ?? true, details: told.details ?? "", retryAfterMs: told.retryAfterMs ?? null };

const any = () => true;
const open = (status) => !hasEnded(status);
const running = (status) => status === RUNNING;

/** Of each kind: in which status it may happen, and what it changes. */
const KINDS = {
  __proto__: null,
  "run.started": [(status) => status === PENDING, (run, event) => ({ ...run, status: RUNNING, startedMs: event.atMs, place: event.place ?? null })],
  "step.started": [running, (run, event) => {
    const known = run.steps[event.step];
    const state = newStep(WAITING, event, { input: event.input ?? null, attempt: known?.attempt ?? 0, heard: known?.heard ?? [], job: event.job ?? null });
    return { ...run, steps: { ...run.steps, [event.step]: state } };
  }],
  "attempt.started": [running, (run, event) => {
    const { attempt, tries } = run.steps[event.step];
    if (event.attempt !== attempt + 1) throw new OutOfPlace(`attempt ${event.attempt} of ${event.step} does not follow ${attempt}`);
    return step(run, event, { status: RUNNING, attempt: event.attempt, tries: tries + 1, dueMs: event.dueMs });
  }],
  "attempt.failed": [running, (run, event) => {
    atWork(run, event);
    const told = failure(event.failure);
    return step(run, event, { status: WAITING, dueMs: null, failure: told, ...(told.blame === "time" ? {} : heard(run, event)) });
  }],
  "attempt.late": [any, (run, event) => step({ ...run, late: run.late + 1 }, event, heard(run, event))],
  "retry.scheduled": [running, (run, event) => step(run, event, { dueMs: event.dueMs })],
  "step.failover": [running, (run, event) => step(run, event, { place: event.place, tries: 0 })],
  "step.completed": [running, (run, event) => {
    atWork(run, event);
    return step(run, event, { status: COMPLETED, output: event.output ?? null, dueMs: null, failure: null, endedMs: event.atMs, ...heard(run, event) });
  }],
  "step.failed": [running, (run, event) => {
    let before = run;
    if (!run.steps[event.step]) {
      const state = newStep(FAILED, event, { input: event.value ?? null });
      before = { ...run, steps: { ...run.steps, [event.step]: state } };
    }
    return step(before, event, { status: FAILED, failure: failure(event.failure), dueMs: null, endedMs: event.atMs });
  }],
  "choice.taken": [running, (run, event) => done(run, event, event.value ?? null, event.next)],
  "parallel.started": [running, (run, event) => done(run, event, event.value ?? null)],
  "branch.joined": [running, (run, event) => {
    const come = { ...run.joins[event.step], [event.branch]: event.value ?? null };
    return { ...run, joins: { ...run.joins, [event.step]: come } };
  }],
  "join.completed": [running, (run, event) => {
    const { [event.step]: _come, ...joins } = run.joins;
    return { ...done(run, event, event.output ?? null), joins };
  }],
  "run.completed": [running, (run, event) => ended(run, event, COMPLETED, { output: event.output ?? null })],
  "run.failed": [open, (run, event) => ended(run, event, FAILED, { failure: failure(event.failure) })],
  "run.cancelled": [open, (run, event) => ended(run, event, CANCELLED)],
  "run.retried": [(status) => status === FAILED, (run) => {
    const anew = run.failure?.blame === "engine" ? { startedMs: null, place: null } : {};
    const next = { ...run, ...anew, endedMs: null, failure: null };
    return { ...next, status: next.startedMs === null ? PENDING : RUNNING };
  }],
};

const AGAIN = [null, FAILED, LEFT];
const MEANWHILE = [null, FAILED];

/** In which status of its step an event may happen; null: the step has not begun. */
const IN_STEP = {
  __proto__: null,
  "step.started": AGAIN, "attempt.started": [WAITING], "attempt.failed": [RUNNING],
  "attempt.late": [RUNNING, WAITING, COMPLETED, FAILED, LEFT], "retry.scheduled": [WAITING], "step.failover": [WAITING],
  "step.completed": [RUNNING], "step.failed": [...AGAIN, WAITING], "choice.taken": MEANWHILE,
  "parallel.started": MEANWHILE, "branch.joined": [null], "join.completed": MEANWHILE,
};
