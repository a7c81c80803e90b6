/**
 * Why a handler failed, as it is said to the gateway.
 *
 * The code is for programs: the name of the error's class, so that a definition's `retry.on` and
 * `retry.notOn` can name it. The message is for people, the stack for those who mend. All are
 * bounded: what a failure says ends up in the history of a run, for ever.
 */

export const CODE_CHARACTERS_MAX = 200;
export const MESSAGE_CHARACTERS_MAX = 2_000;
export const DETAILS_CHARACTERS_MAX = 20_000;

/** A class of errors, as `instanceof` takes it. */
export type ErrorClass = abstract new (...args: never[]) => unknown;

/** What is sent of a failure. */
export interface Failure {
  code: string;
  message: string;
  retryable: boolean;
  details?: string;
}

/** Thrown by a handler that wants to say itself what its failure is called. */
export class WorkerError extends Error {
  /** For programs, such as `out-of-stock`. */
  readonly code: string;
  /** False: another attempt is no use, whatever the workflow's policy says. */
  readonly retryable: boolean;

  constructor(code: string, message = "", options: { retryable?: boolean } = {}) {
    super(message);
    this.name = "WorkerError";
    this.code = code;
    this.retryable = options.retryable ?? true;
  }
}

/** The failure that a thing thrown by a handler is. */
export function failureOf(thrown: unknown, notRetryable: readonly ErrorClass[] = []): Failure {
  if (thrown instanceof WorkerError) {
    return failure(thrown.code, thrown.message, thrown.retryable, thrown.stack);
  }
  const retryable = !notRetryable.some((one) => thrown instanceof one);
  if (thrown instanceof Error) {
    return failure(nameOf(thrown), thrown.message, retryable, thrown.stack);
  }
  let message: string;
  try {
    message = String(thrown);
  } catch {
    message = typeof thrown; // its own toString is somebody's code, too
  }
  return failure("Error", message, retryable);
}

/** A failure whose parts are bounded. */
export function failure(
  code: string,
  message: string,
  retryable: boolean,
  details?: string,
): Failure {
  const said: Failure = {
    code: bounded(code, CODE_CHARACTERS_MAX),
    message: bounded(message, MESSAGE_CHARACTERS_MAX),
    retryable,
  };
  if (details) said.details = bounded(details, DETAILS_CHARACTERS_MAX);
  return said;
}

/** A text that can be written as UTF-8, of at most so many characters (not UTF-16 units). */
export function bounded(text: unknown, charactersMax: number): string {
  // Half of a surrogate pair is no character, and cannot be sent.
  const whole = String(text).replace(/\p{Surrogate}/gu, "\ufffd");
  if (whole.length <= charactersMax) return whole;
  const characters = Array.from(whole.slice(0, 2 * charactersMax + 2));
  if (characters.length <= charactersMax) return whole;
  return characters.slice(0, charactersMax - 1).join("") + "…";
}

function nameOf(error: Error): string {
  // Many classes set no name of their own, and all errors inherit "Error".
  if (error.name && error.name !== "Error") return error.name;
  return error.constructor?.name || "Error";
}
