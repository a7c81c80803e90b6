/** The worker that `tests/sdk` asks, the same in all languages: one action for each behaviour. */

import { setTimeout as sleep } from "node:timers/promises";

import { Worker, WorkerError } from "gossamer-worker";

class CardDeclined extends Error {}
class CardStolen extends CardDeclined {}

const prefix = process.argv[2] ?? "";
const graceMs = Number(process.env["CONFORMANCE_GRACE_MS"] ?? 30_000);
const worker = new Worker({ concurrency: 4, graceMs });
const runs = new Map<string, number>();
let atWork = 0;

function declined(payload: string): never {
  throw new CardDeclined(payload);
}

worker.register(`${prefix}echo`, (payload: unknown) => payload);
worker.register(`${prefix}key`, (_payload, context) => context.key);
worker.register(`${prefix}count`, (_payload: unknown, context) => {
  runs.set(context.key, (runs.get(context.key) ?? 0) + 1);
  return [runs.get(context.key), context.attempt, context.worker === worker.name];
});
worker.register(`${prefix}declined`, declined);
worker.register(`${prefix}fatal`, declined, { notRetryable: [CardDeclined] });
worker.register(`${prefix}derived`, (payload: string) => {
  throw new CardStolen(payload);
}, { notRetryable: [CardDeclined] });
worker.register(`${prefix}odd`, (payload) => {
  throw payload; // no error at all, to Node
});
worker.register(`${prefix}coded`, (payload: string) => {
  throw new WorkerError("out-of-stock", payload, { retryable: false });
});
worker.register(`${prefix}large`, (payload: number) => "x".repeat(payload));
worker.register(`${prefix}wrong`, () => () => 1);
worker.register(`${prefix}slow`, async (payload: number) => {
  await sleep(payload);
  return payload;
});
worker.register(`${prefix}together`, async (payload: number) => {
  atWork += 1;
  const seen = atWork;
  await sleep(payload);
  atWork -= 1;
  return seen;
});
worker.register(`${prefix}hang`, () => {
  console.error("hangs");
  return new Promise(() => {});
});
worker.register(`${prefix}kept`, async (payload: number, context) => {
  await context.extend(60_000);
  return payload;
});

await worker.start();
