/**
 * What this worker did and how far it has read: pure, without clock.
 *
 * Kafka delivers at least once: after a rebalance, a restart of the broker or a commit that was
 * lost, a job comes again. `Memory` knows by their idempotency keys the jobs that are at work and
 * those that were done lately; a redelivery gets the same answer, and the handler does not run
 * twice here. It is lost with the process: what must be done once for ever needs the key, where
 * the effect is.
 *
 * `Offsets` says how far a partition may be committed: as far as all is finished without a gap.
 */

import type { Outcome } from "./messages.js";

/** Jobs whose outcome is remembered. */
export const KEYS_MAX = 10_000;

/** Of the outcomes that are remembered. */
export const BYTES_MAX = 32 * 1_048_576;

/** What becomes of a delivery; an outcome is to be sent again. */
export type Taken = "run" | "wait" | Outcome;

interface Work<Ticket> {
  readonly attempt: number;
  readonly waiting: { attempt: number; ticket: Ticket }[];
}

interface Done {
  readonly attempt: number;
  readonly outcome: Outcome;
  readonly sizeBytes: number;
}

/** Jobs at work, and the outcomes of recent ones. `Ticket`: what a caller knows a delivery by. */
export class Memory<Ticket> {
  readonly #keysMax: number;
  readonly #bytesMax: number;
  readonly #work = new Map<string, Work<Ticket>>();
  readonly #done = new Map<string, Done>(); // the oldest first
  #bytes = 0;

  constructor(keysMax = KEYS_MAX, bytesMax = BYTES_MAX) {
    this.#keysMax = keysMax;
    this.#bytesMax = bytesMax;
  }

  /** What becomes of a delivery. */
  take(key: string, attempt: number, ticket: Ticket): Taken {
    const work = this.#work.get(key);
    if (work) {
      work.waiting.push({ attempt, ticket });
      return "wait";
    }
    const outcome = this.#known(key, attempt);
    if (outcome) return outcome;
    this.#work.set(key, { attempt, waiting: [] });
    return "run";
  }

  /**
   * Keeps how the job at work ended. Gives what becomes of those that waited for it: an outcome
   * to send, or undefined: it is to be run (and is at work from now on).
   */
  done(key: string, outcome: Outcome): { ticket: Ticket; outcome: Outcome | undefined }[] {
    const work = this.#work.get(key);
    if (!work) throw new Error(`no job of ${key} is at work`);
    this.#work.delete(key);
    this.#keep(key, work.attempt, outcome);
    const then: { ticket: Ticket; outcome: Outcome | undefined }[] = [];
    for (const { attempt, ticket } of work.waiting) {
      const taken = this.take(key, attempt, ticket);
      if (taken !== "wait") then.push({ ticket, outcome: taken === "run" ? undefined : taken });
    }
    return then;
  }

  /** Forgets a job that was to be run and never began. Gives how many waited for it. */
  drop(key: string): number {
    const work = this.#work.get(key);
    this.#work.delete(key);
    return work?.waiting.length ?? 0;
  }

  #known(key: string, attempt: number): Outcome | undefined {
    const done = this.#done.get(key);
    if (!done || !(done.outcome.completed || attempt <= done.attempt)) return undefined;
    this.#done.delete(key);
    this.#done.set(key, done);
    return done.outcome;
  }

  #keep(key: string, attempt: number, outcome: Outcome): void {
    this.#forget(key);
    const sizeBytes = Buffer.byteLength(outcome.text);
    this.#done.set(key, { attempt, outcome, sizeBytes });
    this.#bytes += sizeBytes;
    for (const oldest of this.#done.keys()) {
      if (this.#done.size <= this.#keysMax && this.#bytes <= this.#bytesMax) break;
      this.#forget(oldest);
    }
  }

  #forget(key: string): void {
    this.#bytes -= this.#done.get(key)?.sizeBytes ?? 0;
    this.#done.delete(key);
  }
}

/** How far a partition may be committed, since it was given to this worker. */
export class Offsets {
  readonly #unfinished = new Set<bigint>();
  #next = 0n;

  /** A job came. */
  begin(offset: bigint): void {
    this.#unfinished.add(offset);
    this.skip(offset);
  }

  /** A message came that is nothing to do. */
  skip(offset: bigint): void {
    if (offset >= this.#next) this.#next = offset + 1n;
  }

  /** What became of a job is at Kafka, for good. */
  finish(offset: bigint): void {
    this.#unfinished.delete(offset);
  }

  /** The offset before which all is finished. */
  get position(): bigint {
    let least = this.#next;
    for (const one of this.#unfinished) if (one < least) least = one;
    return least;
  }
}
