/**
 * Says once that the other side is away, and once that it is back; and how long to wait.
 *
 * Trouble that somebody has to mend, such as a token that is refused, has a kind. It is said even
 * if something else was said before: who reads that the gateway cannot be reached, and starts it,
 * has to learn that it does not let this worker in.
 */

/** Where a worker's few words go. */
export type Say = (line: string) => void;

/** What a worker says when nobody asked for it otherwise: on standard error. */
export const say: Say = (line) => {
  process.stderr.write(`gossamer-worker: ${line}\n`);
};

const WAIT_MS = 100;
const WAIT_MS_MAX = 5_000;

/** What is said of one other side. */
export class Voice {
  #isAway = false;
  #kind = "";

  constructor(
    private readonly place: string,
    private readonly say: Say,
  ) {}

  /** There is trouble; said if it is the first, or of a kind that was not the last one. */
  away(trouble: string, kind = ""): void {
    const isNews = !this.#isAway || (kind !== "" && kind !== this.#kind);
    this.#isAway = true;
    this.#kind = kind || this.#kind;
    if (isNews) this.say(`${this.place}: ${trouble}; waiting`);
  }

  /** All is well; said if there was trouble. */
  back(): void {
    if (!this.#isAway) return;
    this.#isAway = false;
    this.#kind = "";
    this.say(`${this.place}: back`);
  }
}

/**
 * How long to wait after so many tries that failed, 1 or more: with jitter, so that many workers
 * don't come back at once.
 */
export function waitMs(tries: number): number {
  const longest = Math.min(WAIT_MS_MAX, WAIT_MS * 2 ** Math.min(tries - 1, 10));
  return longest * (0.5 + Math.random() / 2);
}

/** Whether something is done in time; it goes on if not. */
export async function within(ms: number, done: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, ms, false);
  });
  try {
    return await Promise.race([done.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits, but not longer than until the signal. */
export function pause(ms: number, until: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (until.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      until.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    until.addEventListener("abort", done);
  });
}
