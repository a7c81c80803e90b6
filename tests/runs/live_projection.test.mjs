// The page's fold beside the gateway's: the same histories, the same states after each event. Run by
// test_runs_live_projection.py, which makes the histories.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { cut, json } from "../../gateway/live-page/forms.js";
import { health } from "../../gateway/live-page/health.js";
import { OutOfPlace, evolve, fold } from "../../gateway/live-page/projection.js";
import { arranged, ticks, timeline } from "../../gateway/live-page/timeline.js";
import { words } from "../../gateway/live-page/words.js";

const vectors = JSON.parse(readFileSync(process.env.VECTORS, "utf8"));

test("each state is the gateway's", () => {
  assert.ok(vectors.length > 50);
  for (const { seed, events, states } of vectors) {
    let run = null;
    events.forEach((event, index) => {
      const before = JSON.stringify(run);
      const next = evolve(run, event);
      assert.equal(JSON.stringify(run), before, "a state is never changed in place");
      assert.deepEqual(next, states[index], `seed ${seed}, event ${index + 1}: ${event.kind}`);
      run = next;
    });
    assert.deepEqual(fold(events), states.at(-1));
  }
});

test("what does not follow is refused, and a kind that is not known passes", () => {
  const { events } = vectors[0];
  assert.throws(() => evolve(null, events[1]), OutOfPlace);
  assert.throws(() => fold([events[0], events[2]]), OutOfPlace);
  assert.throws(() => fold([events[0], events[0]]), OutOfPlace);
  assert.throws(() => fold([]), OutOfPlace);
  const run = fold(events);
  assert.deepEqual(evolve(run, { kind: "run.painted", run: run.id, seq: run.seq + 1, atMs: 1 }), { ...run, seq: run.seq + 1 });
});

test("a picture has every attempt once, and every event has words", () => {
  for (const { seed, events } of vectors) {
    const picture = timeline(events);
    const drawn = picture.steps.flatMap((one) => one.attempts.map((tried) => `${one.id} ${tried.number}`));
    const begun = events.filter((one) => one.kind === "attempt.started").map((one) => `${one.step} ${one.attempt}`);
    assert.deepEqual(drawn.toSorted?.() ?? [...drawn].sort(), [...begun].sort(), `seed ${seed}`);
    const rows = arranged(picture.steps);
    assert.equal(new Set(rows.map((one) => one.id)).size, picture.steps.length, `seed ${seed}`);
    if (events.at(-1).kind.startsWith("run.") && !["run.triggered", "run.started", "run.retried"].includes(events.at(-1).kind)) {
      for (const one of picture.steps) for (const tried of one.attempts) assert.notEqual(tried.outcome, null, `seed ${seed}: ${one.id}`);
    }
    for (const event of events) {
      const [word, , sentence] = words(event);
      assert.ok(word && typeof sentence === "string" && !sentence.includes("undefined"), `${event.kind}: ${sentence}`);
    }
  }
});

test("branches stand together, and before their join", () => {
  const known = vectors.map(({ events }) => timeline(events)).filter(({ steps }) => steps.some((one) => one.id === "together"));
  assert.ok(known.length > 3);
  for (const { steps } of known) {
    const ids = arranged(steps).map((one) => one.id);
    const inside = ids.slice(ids.indexOf("prepare") + 1, ids.indexOf("together"));
    assert.deepEqual(inside, ["pay", "pack", "label"]);
    assert.deepEqual(Object.fromEntries(steps.map((one) => [one.id, one.lane])), {
      ...Object.fromEntries(steps.map((one) => [one.id, []])), pay: [0], pack: [1], label: [1],
    });
  }
});

test("moments of an axis are round and not too many", () => {
  for (const length of [1, 7, 99, 640, 13300, 86400000, 1e10]) {
    const found = ticks(length, 6);
    assert.ok(found.length <= 7 && found.every((one) => one > 0 && one < length), `${length}: ${found}`);
  }
});

test("an event that is not as it should be has words all the same", () => {
  for (const kind of [...new Set(vectors.flatMap(({ events }) => events.map((one) => one.kind))), "run.painted", "constructor", "__proto__", 7, null]) {
    const [word, colour, sentence, parts] = words({ kind });
    assert.equal(word, word.toString());
    assert.ok(typeof colour === "string" && typeof sentence === "string" && Array.isArray(parts));
  }
});

test("a text cannot turn what is behind it, and no character is cut in two", () => {
  assert.equal(json("a\u202eb\u2066c\u009f"), '"a\\u202eb\\u2066c\\u009f"');
  assert.equal(json("\u{1f469}\u200d\u{1f467} \u0645\u200c"), '"\u{1f469}\u200d\u{1f467} \u0645\u200c"');
  assert.equal(cut("ab\u{1f469}", 3), "ab…");
  assert.equal(cut("ab\u{1f469}", 4), "ab\u{1f469}");
});

test("a provider is as its newest calls were, whatever its circuit is", () => {
  const region = { circuit: "closed", open_ms: 0, at_work: 0, failed_in_row: 0, answered_at_ms: 5 };
  for (const [changes, colour, word] of [
    [{}, "good", "answers"],
    [{ failed_in_row: 1 }, "bad", "failed of late"],
    [{ failed_in_row: 3, answered_at_ms: null }, "bad", "failed 3 times in a row"],
    [{ answered_at_ms: null }, "", "not asked yet"],
    [{ answered_at_ms: null, at_work: 1 }, "", "being asked"],
    [{ circuit: "open", open_ms: 7300, failed_in_row: 9 }, "bad", "not asked for 8 s"],
    [{ circuit: "open", failed_in_row: 9 }, "bad", "may be tried again"],
    [{ circuit: "half-open", failed_in_row: 9 }, "warn", "one call may try"],
  ]) {
    assert.deepEqual(health(true, { ...region, ...changes }), [colour, word]);
  }
  assert.equal(health(true, null)[1], "not asked yet");
  assert.deepEqual(health(false, region), ["warn", "not configured"]);
});
