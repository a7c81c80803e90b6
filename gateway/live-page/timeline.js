// What a picture of a run shows, out of its events: each step with its attempts, where each was made,
// the pauses between them, what came too late, and which steps were beside each other. Pure.

/**
 * Steps in the order in which they began:
 * `{id, kind, beganMs, endedMs, status, attempts, moves, note, lane}`; an attempt is
 * `{number, where, startedMs, endedMs, outcome, failure, late}`, where `outcome` is null while it is at work,
 * and a pause before it is `{fromMs, toMs, delayMs}` in `pauses`.
 */
export function timeline(events) {
  const steps = new Map();
  const lanes = new Map(); // a step that begins a branch: how deep it is, and which
  let endMs = 0;
  let beganMs = null;
  let last = null; // the step that was done or left before, for who is in whose branch
  const of = (event, kind = "task") => {
    let one = steps.get(event.step);
    if (!one) {
      one = { id: event.step, kind, beganMs: event.atMs, endedMs: null, status: "Waiting", attempts: [], pauses: [], moves: [], note: "", failure: null, lane: lane(lanes, event.step, last) };
      steps.set(event.step, one);
    }
    return one;
  };
  for (const event of events) {
    beganMs ??= event.atMs;
    endMs = Math.max(endMs, event.atMs);
    switch (event.kind) {
      case "step.started": {
        const one = of(event);
        Object.assign(one, { status: "Waiting", endedMs: null, failure: null });
        break;
      }
      case "attempt.started": {
        const one = of(event);
        for (const pause of one.pauses) pause.toMs ??= event.atMs;
        one.status = "Running";
        one.attempts.push({ number: event.attempt, where: where(event), startedMs: event.atMs, endedMs: null, dueMs: event.dueMs, outcome: null, failure: null, late: null });
        break;
      }
      case "attempt.failed": {
        const one = of(event);
        const tried = attempt(one, event.attempt);
        if (tried) Object.assign(tried, { endedMs: event.atMs, outcome: event.failure.blame === "time" ? "timeout" : "failed", failure: event.failure });
        one.status = "Waiting";
        break;
      }
      case "attempt.late": {
        const tried = attempt(of(event), event.attempt);
        if (tried) tried.late = { atMs: event.atMs, status: event.status };
        break;
      }
      case "retry.scheduled":
        of(event).pauses.push({ fromMs: event.atMs, dueMs: event.dueMs, toMs: null, delayMs: event.delayMs });
        break;
      case "step.failover":
        of(event).moves.push({ atMs: event.atMs, left: event.left, taken: event.taken });
        break;
      case "step.completed": {
        const one = of(event);
        const tried = attempt(one, event.attempt);
        if (tried) Object.assign(tried, { endedMs: event.atMs, outcome: "completed" });
        Object.assign(one, { status: "Completed", endedMs: event.atMs });
        last = event.step;
        break;
      }
      case "step.failed":
        Object.assign(of(event), { status: "Failed", endedMs: event.atMs, failure: event.failure });
        break;
      case "choice.taken":
        Object.assign(of(event, "choice"), { status: "Completed", endedMs: event.atMs, note: event.next });
        lanes.set(event.next, steps.get(event.step).lane);
        last = event.step;
        break;
      case "parallel.started": {
        const one = of(event, "parallel");
        Object.assign(one, { status: "Completed", endedMs: event.atMs, note: String(event.branches.length) });
        event.branches.forEach((id, index) => lanes.set(id, [...one.lane, index]));
        break;
      }
      case "branch.joined": {
        // Who is in the branch is known; its join is where the parallel was.
        const inner = lanes.get(event.branch) ?? [];
        lanes.set(event.step, inner.slice(0, -1));
        last = null;
        break;
      }
      case "join.completed":
        Object.assign(of(event, "join"), { status: "Completed", endedMs: event.atMs });
        last = event.step;
        break;
      case "run.completed":
      case "run.failed":
      case "run.cancelled":
        for (const one of steps.values()) {
          if (one.status !== "Running" && one.status !== "Waiting") continue;
          Object.assign(one, { status: "Left", endedMs: event.atMs });
          for (const tried of one.attempts) if (tried.outcome === null) Object.assign(tried, { outcome: "left", endedMs: event.atMs });
        }
        for (const one of steps.values()) for (const pause of one.pauses) pause.toMs ??= event.atMs;
        break;
      default:
    }
  }
  return { beganMs, endMs, steps: [...steps.values()] };
}

/** The branch a step is in: indices of branches from the outermost; none: the main way. */
function lane(lanes, id, last) {
  if (!lanes.has(id)) lanes.set(id, last === null ? [] : (lanes.get(last) ?? []));
  return lanes.get(id);
}

const attempt = (one, number) => one.attempts.find((tried) => tried.number === number);

function where(event) {
  if (event.provider) return event.region ? `${event.provider}/${event.region}` : event.provider;
  return event.action ?? "";
}

/** Steps as they are shown: each branch of a parallel together, then its join. */
export function arranged(steps, depth = 0) {
  const rows = [];
  let branches = new Map();
  const flush = () => {
    for (const index of [...branches.keys()].sort((a, b) => a - b)) rows.push(...arranged(branches.get(index), depth + 1));
    branches = new Map();
  };
  for (const one of steps) {
    if (one.lane.length > depth) {
      const index = one.lane[depth];
      branches.set(index, [...(branches.get(index) ?? []), one]);
    } else {
      flush();
      rows.push(one);
    }
  }
  flush();
  return rows;
}

/** About `count` round moments between 0 and a length, without the ends. */
export function ticks(length, count = 5) {
  if (length <= 0) return [];
  const rough = length / count;
  const units = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 15000, 30000, 60000, 120000, 300000, 600000, 900000, 1800000, 3600000, 7200000, 21600000, 43200000, 86400000];
  const unit = units.find((one) => one >= rough) ?? Math.ceil(rough / 86400000) * 86400000;
  const found = [];
  for (let at = unit; at < length * 0.97; at += unit) found.push(at);
  return found;
}
