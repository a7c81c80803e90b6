/** A worker: handlers by action, and where their jobs come from. */

import { randomBytes } from "node:crypto";
import { hostname } from "node:os";

import type { KafkaConfig } from "kafkajs";

import { Desk, type Handler, type Registered } from "./desk.js";
import type { ErrorClass } from "./failures.js";
import { HttpJobs } from "./http.js";
import { KafkaJobs } from "./kafka.js";
import { type Say, say } from "./voice.js";

/** Where a worker's jobs come from, and how it does them. */
export interface WorkerOptions {
  /** Brokers, as `host:port,host:port`. Default: `GOSSAMER_KAFKA`, else `localhost:9092`. */
  kafka?: string;
  /** A gateway, as `http://localhost:8080`: over HTTP instead. Default: `GOSSAMER_URL`. */
  url?: string;
  /** Over HTTP, an API key or a token of the gateway. Default: `GOSSAMER_TOKEN`. */
  token?: string;
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
  readonly #url: string | undefined;
  readonly #token: string | undefined;
  readonly #concurrency: number;
  readonly #graceMs: number;
  readonly #kafkaOptions: Partial<KafkaConfig>;
  readonly #say: Say;
  readonly #handlers = new Map<string, Registered>();
  readonly #stopping = new AbortController();
  #hasStarted = false;

  /** Throws TypeError: both Kafka and a gateway are named, or a value cannot be. */
  constructor(options: WorkerOptions = {}) {
    let { kafka, url } = options;
    if (kafka === undefined && url === undefined) {
      kafka = process.env["GOSSAMER_KAFKA"] || undefined;
      url = process.env["GOSSAMER_URL"] || undefined;
    }
    if (kafka !== undefined && url !== undefined) {
      throw new TypeError("jobs come from Kafka or from a gateway's URL: name one of them");
    }
    this.#concurrency = options.concurrency ?? 8;
    if (!(this.#concurrency >= 1)) throw new TypeError("concurrency is 1 or more");
    this.#kafka = kafka ?? "localhost:9092";
    this.#url = url;
    this.#token = options.token ?? process.env["GOSSAMER_TOKEN"];
    this.name = options.name ?? `${hostname()}-${process.pid}-${randomBytes(2).toString("hex")}`;
    this.#graceMs = options.graceMs ?? 30_000;
    this.#kafkaOptions = options.kafkaOptions ?? {};
    this.#say = options.say ?? say;
  }

  /**
   * Has a handler do the jobs of an action. What it gives is the step's output; what it throws
   * makes the attempt fail. Throws TypeError: the action has a handler, or the worker was started.
   */
  register<Payload = never, Output = unknown>(
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
    this.#handlers.set(action, { handler: handler as Handler, notRetryable });
  }

  /**
   * Does jobs until `stop`, SIGTERM or SIGINT; resolves when what was begun is done. Where Kafka
   * or the gateway is away it waits, says so once, and goes on when it is back.
   */
  async start(): Promise<void> {
    if (this.#handlers.size === 0) {
      throw new TypeError("register a handler first: a worker of no action has nothing to do");
    }
    if (this.#hasStarted) throw new TypeError("a worker is started once");
    // Over Kafka some wait here already, so that no hand is idle between two fetches.
    const takenMax = this.#concurrency * (this.#url === undefined ? 4 : 1);
    const desk = new Desk(this.#handlers, this.name, this.#concurrency, takenMax);
    const jobs = this.#jobs(desk);
    this.#hasStarted = true;
    const caught = (): void => {
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
      await jobs.close();
    } finally {
      process.removeListener("SIGTERM", caught);
      process.removeListener("SIGINT", caught);
    }
  }

  /** Has the promise of `start` resolve, when what was begun is done. */
  stop(): void {
    this.#stopping.abort();
  }

  #jobs(desk: Desk): KafkaJobs | HttpJobs {
    const actions = [...this.#handlers.keys()].sort();
    if (this.#url !== undefined) {
      return new HttpJobs(this.#url, this.#token, actions, this.name, desk, this.#say);
    }
    return new KafkaJobs(this.#kafka, actions, this.name, desk, this.#kafkaOptions, this.#say);
  }
}
