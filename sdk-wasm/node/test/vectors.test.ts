/** The table that the SDKs of all languages share: `sdk-wasm/vectors/worker`. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { type ErrorClass, WorkerError, failureOf } from "../src/failures.js";
import { Memory, Offsets, type Taken } from "../src/memory.js";
import {
  type Outcome,
  completed,
  failed,
  readJob,
  readMessage,
  result,
} from "../src/messages.js";

/* eslint-disable-next-line -- the table's cases have many forms, and the assertions are their check */
type Loose = any;

class CardDeclined extends Error {}
class CardStolen extends CardDeclined {}
const THROWN: Record<string, new (message: string) => Error> = { CardDeclined, CardStolen };

function table(name: string): Loose {
  const place = new URL(`../../../vectors/worker/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(place, "utf8"));
}

function textOf(said: Loose): string {
  if (typeof said !== "object") return String(said ?? "");
  return said.character.repeat(said.times) + (said.then ?? "");
}

for (const one of table("jobs").cases as Loose[]) {
  test(`a message is read: ${one.name}`, () => {
    const value =
      one.base64 !== undefined ? Buffer.from(one.base64, "base64")
      : one.value === null ? null
      : Buffer.from(one.value);
    const read = (): Loose => readMessage("step1", one.header ?? undefined, value);
    if (one.expect.dead) assert.throws(read, { message: one.expect.dead });
    else assert.deepEqual(read(), one.expect.skip ? undefined : one.expect.job);
  });
}

function nested(times: number): Loose {
  let value: Loose = 1;
  for (let made = 0; made < times; made += 1) value = [value];
  return value;
}

function special(name: string): Loose {
  const circular: Loose[] = [];
  circular.push(circular);
  const all: Record<string, Loose> = {
    "not-a-number": NaN,
    "infinity-inside": { a: [Infinity] },
    circular,
    thing: { a: () => 1 },
    "lone-surrogate": "\ud800",
    "large-integer": [2 ** 64],
    broken: {
      toJSON(): never {
        throw new Error("it is broken");
      },
    },
  };
  assert.ok(name in all);
  return all[name];
}

for (const one of table("results").cases as Loose[]) {
  test(`a result is made: ${one.name}`, () => {
    const vectors = table("results");
    const output =
      one.special ? special(one.special)
      : one.text ? textOf(one.text)
      : one.nested ? nested(one.nested)
      : one.output;
    const said = JSON.parse(result(readJob(vectors.job), completed(output), vectors.worker));
    const expected = { ...one.expect, form: 1, run: "r-1", step: "s1", attempt: 1, worker: "w-1" };
    if (expected.failure && !expected.failure.message) delete said.failure.message;
    if (expected.characters) {
      assert.equal(said.output.length, expected.characters);
      delete expected.characters;
      expected.output = output;
    }
    if (expected.nested) {
      delete expected.nested;
      expected.output = output;
    }
    assert.deepEqual(said, expected);
  });
}

for (const one of table("failures").cases as Loose[]) {
  test(`a failure is made: ${one.name}`, () => {
    const { thrown } = one;
    const message = thrown.halfCharacter ? "\ud83d" : textOf(thrown.text ?? thrown.message);
    const retryable = "retryable" in thrown ? { retryable: thrown.retryable } : {};
    const error =
      thrown.type === "WorkerError"
        ? new WorkerError(textOf(thrown.codeText ?? thrown.code), message, retryable)
        : new (THROWN[thrown.type] as Loose)(message);
    const not = (one.notRetryable ?? []).map((name: string) => THROWN[name]) as ErrorClass[];
    const { details, ...said } = JSON.parse(failed(failureOf(error, not)).text);
    assert.match(details, /vectors\.test/);
    assert.ok(Array.from(details).length <= 20_000);
    assert.deepEqual(said, {
      code: textOf(one.expect.code),
      message: textOf(one.expect.message),
      retryable: one.expect.retryable,
    });
  });
}

test("what is thrown and is no error", () => {
  assert.deepEqual(failureOf("no"), { code: "Error", message: "no", retryable: true });
  assert.deepEqual(failureOf(undefined), { code: "Error", message: "undefined", retryable: true });
  assert.equal(failureOf(Object.create(null)).message, "object");
});

function outcomeOf(said: Loose): Outcome {
  return { completed: "output" in said, text: JSON.stringify(said.output ?? said.code) };
}

for (const one of table("memory").cases as Loose[]) {
  test(`what was done is remembered: ${one.name}`, () => {
    const memory = new Memory<number>(one.keys, one.bytes);
    for (const step of one.steps) {
      if (step.deliver) {
        const { key, attempt } = step.deliver;
        const got: Taken = memory.take(key, attempt, attempt);
        assert.deepEqual(got, typeof step.expect === "string" ? step.expect : outcomeOf(step.expect));
      } else {
        const said = step.completed ?? step.failed;
        const expected = step.expect.map((then: Loose) => ({
          ticket: then.attempt,
          outcome: then.run ? undefined : outcomeOf(then),
        }));
        assert.deepEqual(memory.done(said.key, outcomeOf(said)), expected);
      }
    }
  });
}

for (const one of table("offsets").cases as Loose[]) {
  test(`only what is finished is committed: ${one.name}`, () => {
    const offsets = new Offsets();
    for (const step of one.steps) {
      for (const name of ["begin", "skip", "finish"] as const) {
        if (name in step) offsets[name](BigInt(step[name]));
      }
      assert.equal(offsets.position, BigInt(step.position));
    }
  });
}
