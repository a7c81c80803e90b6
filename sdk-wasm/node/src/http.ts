/**
 * Jobs from a gateway over HTTP: a long poll takes them under a lock, answers go back in batches.
 *
 * It fetches as many jobs as there are hands for (nothing waits here while another worker is
 * idle), sends answers until they are taken, and makes locks longer while their jobs are at work.
 */

import type { Desk } from "./desk.js";
import { failure } from "./failures.js";
import { type Gateway, Trouble } from "./line.js";
import { type Job, failed, readJob, result } from "./messages.js";
import { type Say, Voice, pause, waitMs, within } from "./voice.js";

/** How long the gateway may hold a question for jobs. */
const WAIT_MS = 10_000;

/** For how long a job is this worker's; made longer at a third of it. */
const LOCK_MS = 30_000;

/**
 * For how long a job is kept that is left at a stop: the gateway takes no less. Then others are
 * given it, instead of at the end of its lock.
 */
const LEFT_LOCK_MS = 100;

/** How long a gateway may take for anything but waiting for jobs. */
const ANSWER_MS = 15_000;

/** The same, for the last word of a worker that stops. */
const LAST_MS = 2_000;

/** What is answered in one request, unless a single result is larger. */
const BATCH = 100;
const BATCH_BYTES_MAX = 2 * 1_048_576;

interface Sending {
  readonly job: Job;
  readonly text: string;
  readonly isLast?: boolean;
}

/** What a worker has to do with a gateway. */
export class HttpJobs {
  readonly #voice: Voice;
  readonly #stopping = new AbortController();
  readonly #closing = new AbortController();
  readonly #held = new Map<string, Job>();
  readonly #queue: Sending[] = [];
  #sending: Promise<void> | undefined;
  #fetching: Promise<void> | undefined;
  #keeper: NodeJS.Timeout | undefined;

  constructor(
    private readonly gateway: Gateway,
    private readonly actions: readonly string[],
    private readonly worker: string,
    private readonly desk: Desk,
    private readonly broken: (error: unknown) => void,
    private readonly say: Say,
  ) {
    this.#voice = new Voice(gateway.place, say);
  }

  /** Begins to take jobs. */
  start(): void {
    this.#fetching = this.#fetch().catch(this.broken);
    this.#keeper = setInterval(() => void this.#keep().catch(this.broken), LOCK_MS / 3);
  }

  /** Takes no more; what is at work goes on. */
  stop(): void {
    this.#stopping.abort();
  }

  /** After all was said, or the grace was over. True: nothing of it holds on to the process. */
  async close(): Promise<boolean> {
    this.#closing.abort();
    clearInterval(this.#keeper);
    await this.#fetching;
    await within(1_000, Promise.resolve(this.#sending));
    if (this.#held.size > 0) {
      // Without an answer they are given to others when their lock ends.
      await this.#extend([...this.#held.values()], LEFT_LOCK_MS, LAST_MS).catch(() => {});
    }
    this.gateway.close();
    return true;
  }

  async #fetch(): Promise<void> {
    const signal = this.#stopping.signal;
    let isReady = false;
    for (let tries = 0; !signal.aborted; ) {
      const room = await this.desk.waitRoom(1_000, signal);
      if (room === 0) continue;
      const body = JSON.stringify({
        actions: this.actions,
        worker: this.worker,
        max: room,
        // The first answer says that all is well; it is not waited for.
        waitMs: isReady ? WAIT_MS : 0,
        lockMs: LOCK_MS,
      });
      let jobs: unknown;
      try {
        const answer = await this.#post("fetch", body, WAIT_MS + ANSWER_MS, signal);
        jobs = (answer as { jobs?: unknown } | null)?.jobs;
        if (!Array.isArray(jobs)) {
          throw new Trouble("it answers without `jobs`; is it a gateway?");
        }
      } catch (error) {
        if (signal.aborted) return;
        tries += 1;
        this.#away(error);
        await pause(waitMs(tries), signal);
        continue;
      }
      tries = 0;
      this.#voice.back();
      if (!isReady) this.say(`ready: ${this.actions.join(", ")} from ${this.gateway.place}`);
      isReady = true;
      for (const one of jobs as unknown[]) this.#take(one);
    }
  }

  #take(found: unknown): void {
    let job: Job;
    try {
      job = readJob(found);
      if (!this.actions.includes(job.action)) throw new Error("its action was not asked for");
    } catch (error) {
      this.say(`${this.gateway.place} gave what is no job: ${(error as Error).message}`);
      return;
    }
    this.#held.set(nameOf(job), job);
    this.desk.take(
      job,
      (outcome) => this.#send({ job, text: result(job, outcome, this.worker) }),
      (one, lockMs) => this.#extend([one], lockMs),
    );
  }

  #send(one: Sending): void {
    this.#queue.push(one);
    // Not at once: what else ends in this turn of the loop goes with it.
    this.#sending ??= new Promise((resolve) => setImmediate(resolve))
      .then(() => this.#drain())
      .catch(this.broken)
      .finally(() => (this.#sending = undefined));
  }

  async #drain(): Promise<void> {
    let largest = BATCH;
    for (let tries = 0; this.#queue.length; ) {
      const batch = this.#batch(largest);
      try {
        const results = batch.map((one) => one.text).join(",");
        const body = `{"worker":${JSON.stringify(this.worker)},"results":[${results}]}`;
        await this.#post("results", body, ANSWER_MS);
      } catch (error) {
        if (error instanceof Trouble && [400, 413, 422].includes(error.status)) {
          if (batch.length > 1) largest = 1; // one of them is not taken: which?
          else this.#refused(batch[0] as Sending, error);
          continue;
        }
        if (this.#closing.signal.aborted) return;
        tries += 1;
        this.#away(error);
        await pause(waitMs(tries), this.#closing.signal);
        continue;
      }
      tries = 0;
      this.#voice.back();
      this.#queue.splice(0, batch.length);
      for (const one of batch) this.#done(one.job);
    }
  }

  #refused({ job, isLast }: Sending, error: Trouble): void {
    this.say(`${this.gateway.place} does not take the result of ${job.key}: ${error.message}`);
    this.#queue.shift();
    if (isLast) {
      this.#done(job); // its time will be over
      return;
    }
    const message = `the gateway did not take the result: ${error.message}`.slice(0, 500);
    const text = result(job, failed(failure("Refused", message, false)), this.worker);
    this.#queue.unshift({ job, text, isLast: true });
  }

  #batch(largest: number): Sending[] {
    let bytes = 0;
    let count = 0;
    for (const { text } of this.#queue) {
      bytes += text.length;
      if (count > 0 && bytes > BATCH_BYTES_MAX) break;
      count += 1;
      if (count === largest) break;
    }
    return this.#queue.slice(0, count);
  }

  #done(job: Job): void {
    this.#held.delete(nameOf(job));
    this.desk.sent();
  }

  async #keep(): Promise<void> {
    if (this.#held.size === 0) return;
    try {
      await this.#extend([...this.#held.values()], LOCK_MS);
    } catch (error) {
      this.#away(error);
    }
  }

  async #extend(jobs: readonly Job[], lockMs: number, answerMs = ANSWER_MS): Promise<void> {
    const names = jobs.map(({ run, step, attempt }) => ({ run, step, attempt }));
    const body = JSON.stringify({ worker: this.worker, lockMs, jobs: names });
    await this.#post("extend", body, answerMs);
  }

  #post(path: string, body: string, ms: number, until?: AbortSignal): Promise<unknown> {
    return this.gateway.post(`/workflow/jobs/${path}`, body, ms, until);
  }

  /** What is no trouble of the gateway's is a defect here, and ends the worker. */
  #away(error: unknown): void {
    if (!(error instanceof Trouble)) throw error;
    this.#voice.away(error.message, error.kind);
  }
}

function nameOf(job: Job): string {
  return `${job.key}:${job.attempt}`;
}
