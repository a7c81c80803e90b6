/** Handlers at work: bounded, ended, left behind, repeated. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Worker, WorkerError } from "../src/index.js";
import { type Context, Desk, type Handler } from "../src/desk.js";
import type { Job } from "../src/messages.js";

interface Answer {
  readonly run: string;
  readonly completed: boolean;
  readonly value: unknown;
}

function job(name = "r", attempt = 1, dueMs = 60_000): Job {
  return {
    run: name, workflow: "w", step: "s", attempt, action: "a", payload: name,
    key: `${name}:s`, dueMs: Date.now() + dueMs,
  };
}

/** What came of jobs, in order. */
class Said {
  readonly desk: Desk;
  readonly answers: Answer[] = [];
  #waiting: ((one: Answer) => void)[] = [];

  constructor(handler: Handler<string>, concurrency = 2, takenMax = 8) {
    const registered = { handler: handler as Handler<never>, notRetryable: [RangeError] };
    this.desk = new Desk(new Map([["a", registered]]), "w-1", concurrency, takenMax);
  }

  take(one: Job): void {
    this.desk.take(one, ({ completed, text }) => {
      const answer = { run: one.run, completed, value: JSON.parse(text) as unknown };
      const waiting = this.#waiting.shift();
      if (waiting) waiting(answer);
      else this.answers.push(answer);
      this.desk.sent();
    });
  }

  async next(): Promise<Answer> {
    return this.answers.shift() ?? new Promise((resolve) => this.#waiting.push(resolve));
  }
}

class Gate {
  open!: () => void;
  readonly passed = new Promise<void>((resolve) => (this.open = resolve));
}

const never = new AbortController().signal;

test("a handler is given payload and context, and may be async", async () => {
  const said = new Said(async (payload, context: Context) => {
    await context.extend();
    assert.ok(context.remainingMs() > 0 && !context.signal.aborted);
    return [payload, context.key, context.attempt, context.worker, context.action];
  });
  said.take(job());
  const value = ["r", "r:s", 1, "w-1", "a"];
  assert.deepEqual(await said.next(), { run: "r", completed: true, value });
});

test("no more handlers run than are wanted", async () => {
  const gate = new Gate();
  const began: string[] = [];
  const said = new Said(async (payload) => {
    began.push(payload);
    await gate.passed;
    return payload;
  }, 2, 4);
  for (const name of ["0", "1", "2", "3"]) said.take(job(name));
  assert.deepEqual(began, ["0", "1"]);
  assert.equal(said.desk.room, 0);
  gate.open();
  const ended = [await said.next(), await said.next(), await said.next(), await said.next()];
  assert.deepEqual(ended.map((one) => one.run).sort(), ["0", "1", "2", "3"]);
  assert.equal(await said.desk.waitRoom(20_000, never), 4);
});

test("whatever a handler throws is a failure", async () => {
  const thrown: Record<string, unknown> = {
    known: new WorkerError("known", "as it says", { retryable: false }),
    range: new RangeError("no"),
    other: new TypeError("no"),
    nothing: undefined,
  };
  const said = new Said((payload) => {
    throw thrown[payload];
  }, 1);
  const seen: Record<string, unknown> = {};
  for (const name of Object.keys(thrown)) {
    said.take(job(name));
    const { completed, value } = await said.next();
    const { code, retryable } = value as { code: string; retryable: boolean };
    assert.ok(!completed);
    seen[name] = [code, retryable];
  }
  assert.deepEqual(seen, {
    known: ["known", false],
    range: ["RangeError", false],
    other: ["TypeError", true],
    nothing: ["Error", true],
  });
});

test("a redelivery does not run twice", async () => {
  const gate = new Gate();
  let runs = 0;
  const said = new Said(async () => {
    runs += 1;
    await gate.passed;
    return runs;
  });
  said.take(job());
  said.take(job()); // while it is at work
  gate.open();
  for (const one of [await said.next(), await said.next()]) {
    assert.deepEqual(one, { run: "r", completed: true, value: 1 });
  }
  said.take(job("r", 2)); // and after it
  assert.deepEqual(await said.next(), { run: "r", completed: true, value: 1 });
  assert.equal(runs, 1);
});

test("a handler that is late is left, told so, and its place taken", async () => {
  const gate = new Gate();
  let signal: AbortSignal | undefined;
  const said = new Said(async (payload, context: Context) => {
    if (payload === "stuck") {
      signal = context.signal;
      await gate.passed;
    }
    return payload;
  }, 1);
  said.take(job("stuck", 1, 1_000)); // it begins before that on any machine
  said.take(job("next"));
  const late = await said.next();
  assert.deepEqual([late.run, late.completed], ["stuck", false]);
  assert.equal((late.value as { code: string }).code, "Timeout");
  assert.ok(signal?.aborted);
  assert.equal((await said.next()).run, "next");
  gate.open(); // what it gives now is nobody's
  said.take(job("last"));
  assert.deepEqual(await said.next(), { run: "last", completed: true, value: "last" });
  assert.equal(said.answers.length, 0);
});

test("no more are left than may be at work", async () => {
  const gate = new Gate();
  const began: string[] = [];
  const said = new Said(async (payload) => {
    began.push(payload);
    if (payload.startsWith("stuck")) await gate.passed;
  }, 1);
  for (const [name, dueMs] of [["stuck-0", 100], ["stuck-1", 200], ["stuck-2", 300]] as const) {
    said.take(job(name, 1, dueMs));
  }
  for (let number = 0; number < 3; number += 1) assert.ok(!(await said.next()).completed);
  // One is left and one in its place; none where the time was over before it could begin.
  assert.ok(began.length <= 2, String(began));
  gate.open();
  said.take(job("next"));
  assert.ok((await said.next()).completed);
});

test("what comes too late is not run", async () => {
  const said = new Said(() => assert.fail("it ran"));
  said.take(job("r", 1, -5_000));
  assert.equal(((await said.next()).value as { code: string }).code, "Timeout");
});

test("a stop finishes what has begun and nothing else", async () => {
  const gate = new Gate();
  const said = new Said(async (payload) => {
    await gate.passed;
    return payload;
  }, 1);
  said.take(job("first"));
  said.take(job("second"));
  const drained = said.desk.drain(20_000);
  gate.open();
  assert.ok(await drained);
  assert.deepEqual(said.answers.map((one) => one.run), ["first"]);
});

test("a stop does not wait for ever", async () => {
  const gate = new Gate();
  let signal: AbortSignal | undefined;
  const said = new Said((_payload, context) => {
    signal = context.signal;
    return gate.passed;
  });
  said.take(job());
  assert.ok(!(await said.desk.drain(20)));
  assert.ok(signal?.aborted);
  gate.open();
  await gate.passed;
  assert.equal(said.answers.length, 0, "what ends after the stop is nobody's");
});

test("a worker says what is wrong with it", async () => {
  assert.throws(() => new Worker({ concurrency: 0 }), /1 or more/);
  assert.throws(() => new Worker({ name: "x".repeat(201) }), /1 to 200/);
  assert.throws(() => new Worker({ kafka: "a:1", url: "http://b" }), /name one of them/);
  const worker = new Worker({ kafka: "localhost:1" });
  await assert.rejects(worker.start(), /register a handler first/);
  worker.register("a", () => 1);
  assert.throws(() => worker.register("a", () => 1), /handler of a already/);
  assert.throws(() => worker.register("", () => 1), /not empty/);
  assert.throws(() => worker.register("b", "no" as never), /is a function/);
  assert.throws(() => worker.register("b", () => 1, { notRetryable: ["no" as never] }), /classes/);
});
