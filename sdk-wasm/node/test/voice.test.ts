/** Waits that end. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { within } from "../src/voice.js";

test("what is done in time is done", async () => {
  assert.equal(await within(60_000, Promise.resolve("x")), true);
});

test("what never ends is late", async () => {
  assert.equal(await within(1, new Promise(() => {})), false);
});

test("what breaks is told", async () => {
  await assert.rejects(within(60_000, Promise.reject(new RangeError("broken"))), RangeError);
});
