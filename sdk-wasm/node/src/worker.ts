/** A worker: handlers by action, and where their jobs come from. */

import { randomBytes } from "node:crypto";
import { hostname } from "node:os";

import type { KafkaConfig } from "kafkajs";

import { Desk, type Handler, type Registered } from "./desk.js";
import type { ErrorClass } from "./failures.js";
import { HttpJobs } from "./http.js";
import { KafkaJobs } from "./kafka.js";
import { Gateway } from "./line.js";
import { type Say, say } from "./voice.js";

/** Where a worker's jobs come from, and how it does them. */
export interface WorkerOptions {
  /** Brokers, as `host:port,host:port`. Default: `GOSSAMER_KAFKA`, else `localhost:9092`. */
  kafka?: string;
  /** A gateway, as `http://localhost:8080`: over HTTP instead. Default: `GOSSAMER_URL`. */
  url?: string;
  /** Over HTTP, an API key or a token of the gateway. Default: `GOSSAMER_TOKEN`. */
  token?: string;
  /** A file that has the token instead, read anew for each request. Default: `GOSSAMER_TOKEN_FILE`. */
  tokenFile?: string;
  /**
   * Over HTTP, PEM of the authorities that are trusted instead of Node's. Default:
   * `GOSSAMER_CA_FILE`.
   */
  caFile?: string;
  /** What histories call this worker. Default: made of the machine's name. */
  name?: string;
  /** Handlers at work at a time. Default: 8. */
  concurrency?: number;
  /** How long `stop` waits for what is at work. Default: 30,000. */
  graceMs?: number;
  /** More of kafkajs' configuration, such as `sasl` and `ssl`. */
  kafkaOptions?: Partial<KafkaConfig>;
  /** Takes the few lines that a worker says. Default: standard error. */
  say?: Say;
}

/** Of one handler. */
export interface RegisterOptions {
  /** Classes of errors after which another attempt is no use. */
  notRetryable?: readonly ErrorClass[];
}

/** Takes jobs of the actions it has handlers for, and answers them. */
export class Worker {
  /** What histories call this worker. */
  readonly name: string;
  readonly #kafka: string;
  readonly #gateway: Gateway | undefined;
  readonly #concurrency: number;
  readonly #graceMs: number;
  readonly #kafkaOptions: Partial<KafkaConfig>;
  readonly #say: Say;
  readonly #handlers = new Map<string, Registered>();
  readonly #stopping = new AbortController();
  #hasStarted = false;
  #error: Error | undefined;

  /** Throws TypeError: both Kafka and a gateway are named, or a value cannot be. */
  constructor(options: WorkerOptions = {}) {
    let { kafka, url } = options;
    if (kafka === undefined && url === undefined) {
      kafka = environment("KAFKA");
      url = environment("URL");
    }
    if (kafka !== undefined && url !== undefined) {
      throw new TypeError("jobs come from Kafka or from a gateway's URL: name one of them");
    }
    this.#concurrency = options.concurrency ?? 8;
    if (!(this.#concurrency >= 1)) throw new TypeError("concurrency is 1 or more");
    this.#kafka = kafka ?? "localhost:9092";
    if (url !== undefined) {
      let { token, tokenFile } = options;
      if (token === undefined && tokenFile === undefined) {
        token = environment("TOKEN");
        tokenFile = environment("TOKEN_FILE");
      }
      const caFile = options.caFile ?? environment("CA_FILE");
      this.#gateway = new Gateway({ url, token, tokenFile, caFile });
    }
    if (options.name !== undefined && !/^[^]{1,200}$/.test(options.name)) {
      throw new TypeError("a name is a text of 1 to 200 characters");
    }
    this.name = options.name ?? `${hostname()}-${process.pid}-${randomBytes(2).toString("hex")}`;
    this.#graceMs = options.graceMs ?? 30_000;
    this.#kafkaOptions = options.kafkaOptions ?? {};
    this.#say = options.say ?? say;
  }

  /**
   * Has a handler do the jobs of an action. What it gives is the step's output; what it throws
   * makes the attempt fail. Throws TypeError: the action has a handler, or the worker was started.
   */
  register<Payload = unknown, Output = unknown>(
    action: string,
    handler: Handler<Payload, Output>,
    options: RegisterOptions = {},
  ): void {
    if (this.#hasStarted) throw new TypeError("handlers are registered before the worker starts");
    if (!action) throw new TypeError("an action is a text that is not empty");
    if (this.#handlers.has(action)) throw new TypeError(`there is a handler of ${action} already`);
    if (typeof handler !== "function") throw new TypeError("a handler is a function");
    const notRetryable = options.notRetryable ?? [];
    if (notRetryable.some((one) => typeof one !== "function")) {
      throw new TypeError("notRetryable has classes of errors");
    }
    this.#handlers.set(action, { handler: handler as Handler<never>, notRetryable });
  }

  /**
   * Does jobs until `stop`, SIGTERM or SIGINT; resolves when what was begun is done. Where Kafka
   * or the gateway is away it waits, says so once, and goes on when it is back. Rejects with
   * TypeError: there is no handler, or it was started before; and with whatever broke the worker:
   * that is a defect here.
   */
  async start(): Promise<void> {
    if (this.#handlers.size === 0) {
      throw new TypeError("register a handler first: a worker of no action has nothing to do");
    }
    if (this.#hasStarted) throw new TypeError("a worker is started once");
    // Over Kafka some wait here already, so that no hand is idle between two fetches.
    const takenMax = this.#concurrency * (this.#gateway ? 1 : 4);
    const desk = new Desk(this.#handlers, this.name, this.#concurrency, takenMax);
    const jobs = this.#jobs(desk);
    this.#hasStarted = true;
    let signal: NodeJS.Signals | undefined;
    const caught = (which: NodeJS.Signals): void => {
      signal = which;
      // A second one is meant: it ends the process as ever.
      process.removeListener("SIGTERM", caught);
      process.removeListener("SIGINT", caught);
      void this.stop();
    };
    process.on("SIGTERM", caught);
    process.on("SIGINT", caught);
    try {
      jobs.start();
      await new Promise<void>((resolve) => {
        if (this.#stopping.signal.aborted) resolve();
        this.#stopping.signal.addEventListener("abort", () => resolve());
      });
      jobs.stop();
      if (!(await desk.drain(this.#graceMs))) {
        this.#say("stopped with jobs at work; they will be given to others");
      }
      const isFree = await jobs.close();
      // What still holds on to the process ends with it, as with a second signal.
      if (!isFree && signal) process.kill(process.pid, signal);
    } finally {
      process.removeListener("SIGTERM", caught);
      process.removeListener("SIGINT", caught);
    }
    if (this.#error) throw this.#error;
  }

  /** Has the promise of `start` resolve, when what was begun is done. */
  stop(): void {
    this.#stopping.abort();
  }

  readonly #broken = (error: unknown): void => {
    this.#error = error instanceof Error ? error : new Error(String(error));
    this.stop();
  };

  #jobs(desk: Desk): KafkaJobs | HttpJobs {
    const actions = [...this.#handlers.keys()].sort();
    if (this.#gateway) {
      return new HttpJobs(this.#gateway, actions, this.name, desk, this.#broken, this.#say);
    }
    return new KafkaJobs(
      this.#kafka, actions, this.name, desk, this.#kafkaOptions, this.#broken, this.#say,
    );
  }
}

function environment(name: string): string | undefined {
  return process.env[`GOSSAMER_${name}`] || undefined;
}
