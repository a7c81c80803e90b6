/**
 * Jobs at work: at most `concurrency` handlers at a time, none for ever.
 *
 * A handler may be async. One that is still at work when its job is due is left behind: its job is
 * reported as `Timeout`, its `signal` is aborted, and another may begin in its place, for at most
 * as many as `concurrency`. Whatever it gives later is nobody's. A handler that never gives the
 * loop back cannot be left: that is what worker threads are for.
 *
 * Every job that is taken ends in exactly one call of its `say`; the transport calls `sent` when
 * that answer has arrived for good. Between the two it counts as taken, and what is taken is bounded.
 */

import { type ErrorClass, failure, failureOf } from "./failures.js";
import { Memory } from "./memory.js";
import { type Job, type Outcome, completed, failed } from "./messages.js";

/** What a handler may know of its job beside the payload. */
export interface Context {
  readonly run: string;
  readonly workflow: string;
  readonly step: string;
  /** Counted from 1. */
  readonly attempt: number;
  readonly action: string;
  /**
   * The idempotency key: the same for all attempts of the step in its run. Send it with everything
   * that has an effect.
   */
  readonly key: string;
  /** When the attempt counts as failed, in ms since 1970. */
  readonly dueMs: number;
  /** This worker's name. */
  readonly worker: string;
  /**
   * Aborted when nobody waits for this attempt any more, and at the end of a stop's grace. Hand it
   * on to `fetch`.
   */
  readonly signal: AbortSignal;
  /** Until the attempt counts as failed; never below 0. */
  remainingMs(): number;
  /**
   * Keeps the job this worker's for so long from now. Seldom needed: a job at work is extended by
   * itself. Over Kafka there is no lock, and this does nothing. `dueMs` stays what it is.
   */
  extend(lockMs?: number): Promise<void>;
}

/** Takes a job's payload, and its context; gives any JSON, or a promise of it. */
export type Handler<Payload = unknown, Output = unknown> = (
  payload: Payload,
  context: Context,
) => Output | Promise<Output>;

/** A handler and its options. */
export interface Registered {
  readonly handler: Handler<never>;
  readonly notRetryable: readonly ErrorClass[];
}

type Extend = (job: Job, lockMs: number) => Promise<void>;

interface Task {
  readonly job: Job;
  readonly say: (outcome: Outcome) => void;
  readonly extend: Extend;
  readonly abort: AbortController;
  timer?: NodeJS.Timeout;
  isRunning: boolean;
  hasEnded: boolean;
  isLeft: boolean;
}

const TIMER_MS_MAX = 2 ** 31 - 1;

export class Desk {
  readonly #memory = new Memory<Task>();
  readonly #queue: Task[] = [];
  readonly #atWork = new Set<Task>();
  readonly #waiting = new Set<() => void>();
  #running = 0;
  #left = 0;
  #taken = 0;
  #isDraining = false;

  constructor(
    private readonly handlers: ReadonlyMap<string, Registered>,
    private readonly worker: string,
    private readonly concurrency: number,
    private readonly takenMax: number,
  ) {}

  /** How many more jobs may be taken. */
  get room(): number {
    return Math.max(0, this.takenMax - this.#taken);
  }

  /** Waits so long for room, or until the signal. */
  async waitRoom(ms: number, until: AbortSignal): Promise<number> {
    if (this.room === 0) await this.#change(ms, () => this.room > 0, until);
    return this.room;
  }

  /** Takes a job; `say` is called once with what came of it. */
  take(job: Job, say: (outcome: Outcome) => void, extend: Extend = async () => {}): void {
    const abort = new AbortController();
    const task: Task = {
      job, say, extend, abort, isRunning: false, hasEnded: false, isLeft: false,
    };
    this.#taken += 1;
    const known = this.#memory.take(job.key, job.attempt, task);
    if (known === "run") this.#enqueue(task);
    else if (known !== "wait") say(known);
  }

  /** An answer arrived, for good. */
  sent(): void {
    this.#taken -= 1;
    this.#changed();
  }

  /**
   * Begins nothing more, and waits until all that has begun is answered for good. Gives whether it
   * is; else the grace was not enough.
   */
  async drain(graceMs: number): Promise<boolean> {
    this.#isDraining = true;
    for (const task of this.#queue.splice(0)) {
      clearTimeout(task.timer);
      task.hasEnded = true; // it is not answered: others are given it
      this.#taken -= 1 + this.#memory.drop(task.job.key);
    }
    await this.#change(graceMs, () => this.#taken <= 0, new AbortController().signal);
    for (const task of this.#atWork) {
      clearTimeout(task.timer); // it would keep the process
      task.hasEnded = true;
      task.abort.abort(new Error("the worker has stopped"));
    }
    return this.#taken <= 0;
  }

  #enqueue(task: Task): void {
    if (this.#isDraining) {
      this.#taken -= 1 + this.#memory.drop(task.job.key);
      this.#changed();
      return;
    }
    this.#queue.push(task);
    this.#watch(task);
    this.#begin();
  }

  #watch(task: Task): void {
    const ms = Math.min(TIMER_MS_MAX, Math.max(0, task.job.dueMs - Date.now()));
    task.timer = setTimeout(() => {
      if (task.job.dueMs > Date.now()) this.#watch(task);
      else this.#late(task);
    }, ms);
  }

  #begin(): void {
    while (this.#running - this.#left < this.concurrency) {
      const task = this.#queue.shift();
      if (!task) return;
      this.#running += 1;
      task.isRunning = true;
      this.#atWork.add(task);
      void this.#run(task).then((outcome) => {
        this.#running -= 1;
        this.#atWork.delete(task);
        if (task.isLeft) this.#left -= 1;
        this.#end(task, outcome);
        this.#begin();
      });
    }
  }

  async #run(task: Task): Promise<Outcome> {
    const { job } = task;
    const lateMs = Date.now() - job.dueMs;
    if (lateMs >= 0) {
      const message = `it was not run: it was due ${lateMs} ms before it came`;
      return failed(failure("Timeout", message, true));
    }
    const registered = this.handlers.get(job.action);
    try {
      return completed(await registered?.handler(job.payload as never, this.#context(task)));
    } catch (error) {
      return failed(failureOf(error, registered?.notRetryable));
    }
  }

  #context({ job, abort, extend }: Task): Context {
    return {
      run: job.run,
      workflow: job.workflow,
      step: job.step,
      attempt: job.attempt,
      action: job.action,
      key: job.key,
      dueMs: job.dueMs,
      worker: this.worker,
      signal: abort.signal,
      remainingMs: () => Math.max(0, job.dueMs - Date.now()),
      extend: (lockMs = 60_000) => extend(job, lockMs),
    };
  }

  #late(task: Task): void {
    if (task.hasEnded) return;
    if (task.isRunning && this.#left < this.concurrency) {
      task.isLeft = true;
      this.#left += 1;
    }
    const how = task.isRunning ? "its handler is still at work" : "it was not run";
    if (!task.isRunning) this.#queue.splice(this.#queue.indexOf(task), 1);
    this.#end(task, failed(failure("Timeout", `its time is over; ${how}`, true)));
    task.abort.abort(new Error("its time is over"));
    this.#begin();
  }

  #end(task: Task, outcome: Outcome): void {
    if (task.hasEnded) return;
    task.hasEnded = true;
    clearTimeout(task.timer);
    const then = this.#memory.done(task.job.key, outcome);
    task.say(outcome);
    for (const waiting of then) {
      if (waiting.outcome) waiting.ticket.say(waiting.outcome);
      else this.#enqueue(waiting.ticket);
    }
  }

  #changed(): void {
    for (const one of this.#waiting) one();
  }

  #change(ms: number, until: () => boolean, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (until() || signal.aborted) return resolve();
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const look = (): void => {
        if (until()) done();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener("abort", done);
      this.#waiting.add(look);
    });
  }
}
