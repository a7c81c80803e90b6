/** The worker that `tests/sdk` asks, the same in all languages: one action for each behaviour. */

import { setTimeout as sleep } from "node:timers/promises";

import { Worker, WorkerError } from "gossamer-worker";

class CardDeclined extends Error {}

const prefix = process.argv[2] ?? "";
const worker = new Worker({ concurrency: 4 });
const runs = new Map<string, number>();

function declined(payload: string): never {
  throw new CardDeclined(payload);
}

worker.register(`${prefix}echo`, (payload: unknown) => payload);
worker.register(`${prefix}count`, (_payload: unknown, context) => {
  runs.set(context.key, (runs.get(context.key) ?? 0) + 1);
  return [runs.get(context.key), context.attempt, context.worker === worker.name];
});
worker.register(`${prefix}declined`, declined);
worker.register(`${prefix}fatal`, declined, { notRetryable: [CardDeclined] });
worker.register(`${prefix}coded`, (payload: string) => {
  throw new WorkerError("out-of-stock", payload, { retryable: false });
});
worker.register(`${prefix}large`, (payload: number) => "x".repeat(payload));
worker.register(`${prefix}wrong`, () => () => 1);
worker.register(`${prefix}slow`, async (payload: number) => {
  await sleep(payload);
  return payload;
});
worker.register(`${prefix}kept`, async (payload: number, context) => {
  await context.extend(60_000);
  return payload;
});

await worker.start();
