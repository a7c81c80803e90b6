/**
 * What comes and what goes, as JSON: pure functions, the same in all languages of the SDK.
 *
 * `sdk-wasm/vectors/worker/` is their table of tests. A job that cannot be read is nobody's work:
 * it is put aside with the reason (`Unreadable`), never thrown away and never a crash.
 */

import { type Failure, failure } from "./failures.js";

/** Of the messages' JSON. */
export const FORM = 1;

/** Of a result's JSON; the gateway takes no larger ones. */
export const OUTPUT_BYTES_MAX = 1_048_576;

/**
 * Of an output: 1 is an array or an object of plain values. The gateway takes 64, envelope and all.
 */
export const DEPTH_MAX = 60;

/** Of an output's whole numbers; the gateway takes no others, for most languages would round them. */
const INTEGER_MIN = -(2 ** 63);
const INTEGER_END = 2 ** 64;

/** From here on JavaScript writes a number with an exponent, which is no whole number to anybody. */
const EXPONENT = 1e21;

/** A message that is no job. Its message is the reason, for the dead letters. */
export class Unreadable extends Error {}

/** One attempt of a step that is to be made. */
export interface Job {
  readonly run: string;
  readonly workflow: string;
  readonly step: string;
  readonly attempt: number;
  readonly action: string;
  readonly payload: unknown;
  /** The same for all attempts of a step in its run. */
  readonly key: string;
  /** When the attempt counts as failed, in ms since 1970. */
  readonly dueMs: number;
}

/** How a job ended. `text`: the JSON of its output, or of its failure. */
export interface Outcome {
  readonly completed: boolean;
  readonly text: string;
}

/**
 * The job in a message of the topic, or undefined for one of another action. Throws Unreadable.
 *
 * `action`: the one whose jobs are wanted. `header`: the message's header `action`.
 */
export function readMessage(
  action: string,
  header: string | undefined,
  value: Uint8Array | null,
): Job | undefined {
  if (header !== undefined && header !== action) return undefined;
  const found = parse(value);
  if (!isObject(found)) throw new Unreadable("it is not a JSON object");
  if (found["form"] !== FORM) throw new Unreadable(`its form is not ${FORM}`);
  const job = readJob(found);
  if (job.action === action) return job;
  if (header === undefined) return undefined;
  throw new Unreadable("its action is not that of its header");
}

/** A job from its fields. Throws Unreadable. */
export function readJob(found: unknown): Job {
  if (!isObject(found)) throw new Unreadable("it is not a JSON object");
  return {
    run: text(found, "run"),
    workflow: text(found, "workflow"),
    step: text(found, "step"),
    attempt: wholeNumber(found, "attempt"),
    action: text(found, "action"),
    payload: found["payload"] ?? null,
    key: text(found, "key"),
    dueMs: wholeNumber(found, "dueMs"),
  };
}

/** The outcome of a handler that gave this; a failure where it cannot be sent. */
export function completed(output: unknown): Outcome {
  let said: string;
  try {
    said = JSON.stringify(output === undefined ? null : output, strictly);
    if (said === undefined) throw new TypeError(`it is of the type ${typeof output}`);
    const sizeBytes = Buffer.byteLength(said);
    if (sizeBytes > OUTPUT_BYTES_MAX) return tooLarge(sizeBytes);
    if (depthOf(said) > DEPTH_MAX) {
      throw new RangeError(`it nests deeper than ${DEPTH_MAX} levels; make it flatter`);
    }
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return failed(failure("Unserialisable", `the result cannot be sent as JSON: ${why}`, false));
  }
  return { completed: true, text: said };
}

/** The outcome of a result that nobody takes. */
export function tooLarge(sizeBytes: number): Outcome {
  const message = `the result is ${sizeBytes} bytes of JSON; at most ${OUTPUT_BYTES_MAX} are taken`;
  return failed(failure("TooLarge", message, false));
}

/** The outcome of a handler that threw. */
export function failed(said: Failure): Outcome {
  return { completed: false, text: JSON.stringify(said) };
}

/** What is sent: on Kafka a message's value, over HTTP one of `results`. */
export function result(job: Job, outcome: Outcome, worker: string): string {
  const head = JSON.stringify({
    form: FORM,
    run: job.run,
    step: job.step,
    attempt: job.attempt,
    worker,
  });
  const said = outcome.completed ? '"completed","output"' : '"failed","failure"';
  // The outcome is JSON already, and may be large: it is not made again.
  return `${head.slice(0, -1)},"status":${said}:${outcome.text}}`;
}

/** JSON.stringify passes over in silence what it cannot say; a result must not change so. */
function strictly(key: string, value: unknown): unknown {
  switch (typeof value) {
    case "number":
      if (!Number.isFinite(value)) throw new TypeError(`${value} is no JSON`);
      if (Math.abs(value) < EXPONENT && (value < INTEGER_MIN || value >= INTEGER_END)) {
        throw new RangeError("a whole number is beyond 64 bits; make it a text");
      }
      return value;
    case "string":
      if (!/^\P{Surrogate}*$/u.test(value)) throw new TypeError("half a character is no JSON");
      return value;
    case "function":
    case "symbol":
      throw new TypeError(`${key || "it"} is a ${typeof value}`);
    default:
      return value;
  }
}

/** How deep arrays and objects are in each other. */
function depthOf(json: string): number {
  let depth = 0;
  let deepest = 0;
  let isInText = false;
  for (let at = 0; at < json.length; at += 1) {
    const one = json[at];
    if (one === '"') isInText = !isInText;
    else if (isInText) at += one === "\\" ? 1 : 0; // what is escaped ends no text
    else if (one === "[" || one === "{") deepest = Math.max(deepest, (depth += 1));
    else if (one === "]" || one === "}") depth -= 1;
  }
  return deepest;
}

function parse(value: Uint8Array | null): unknown {
  try {
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    return JSON.parse(decoder.decode(value ?? new Uint8Array()));
  } catch {
    throw new Unreadable("it is not JSON");
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(found: Record<string, unknown>, name: string): string {
  const value = found[name];
  if (typeof value !== "string" || value === "") {
    throw new Unreadable(`\`${name}\` is not a text, or is empty`);
  }
  return value;
}

function wholeNumber(found: Record<string, unknown>, name: string): number {
  const value = found[name];
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 1) {
    throw new Unreadable(`\`${name}\` is not a whole number of 1 or more`);
  }
  return value;
}
