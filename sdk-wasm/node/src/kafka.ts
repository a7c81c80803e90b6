/**
 * Jobs from the topic `workflow-jobs`, answers to `workflow-results`.
 *
 * Each action has a consumer group of its own (`workflow-worker.<action>`), so workers of one action
 * share its jobs and every action gets all of its own; jobs of others are passed over by a header.
 * The client goes on fetching and beating while handlers are busy, so a handler may take hours
 * and its partition stays. An offset is committed when the answers of all jobs before it were
 * acknowledged by Kafka. So nothing is lost; what comes twice is known by its key (`memory.ts`).
 *
 * The assignment strategy is `range`, which the default clients of all languages know: workers
 * written in several may share an action. kafkajs comes without one that others understand.
 */

import { setMaxListeners } from "node:events";

import kafkajs, {
  type Consumer,
  type EachBatchPayload,
  type IHeaders,
  type Kafka as Client,
  type KafkaConfig,
  type KafkaMessage,
  type PartitionAssigner,
  type Producer,
} from "kafkajs";

import type { Desk } from "./desk.js";
import { Offsets } from "./memory.js";
import { Unreadable, readMessage, result, tooLarge } from "./messages.js";
import { type Say, Voice, pause, waitMs, within } from "./voice.js";

const { AssignerProtocol, Kafka, KafkaJSProtocolError, Partitioners, logLevel } = kafkajs;

const JOBS = "workflow-jobs";
const RESULTS = "workflow-results";
const DEAD_LETTERS = "workflow-jobs-dead-letters";

/** How often what is finished is committed. After a kill, what was finished since comes again. */
const COMMIT_MS = 200;

/** What may wait to be sent: a topic full of junk is read no faster than its letters are kept. */
const WAITING_MAX = 1_000;

/** What is sent in one request. */
const BATCH = 200;
const BATCH_BYTES_MAX = 2 * 1_048_576;

/** How long leaving a group may take, and sending what is left: kafkajs can wait for ever there. */
const CLOSE_MS = 10_000;

/** What a worker has to do with Kafka. */
export class KafkaJobs {
  readonly voice: Voice;
  readonly sender: Sender;
  readonly stopping = new AbortController();
  readonly closing = new AbortController();
  readonly client: Client;
  readonly #place: string;
  readonly #ready = new Set<string>();
  #readers: Promise<void>[] = [];

  constructor(
    servers: string,
    private readonly actions: readonly string[],
    readonly worker: string,
    readonly desk: Desk,
    options: Partial<KafkaConfig>,
    private readonly broken: (error: unknown) => void,
    readonly say: Say,
  ) {
    this.#place = `Kafka at ${servers}`;
    // Each action's reader listens: that is no leak, however many there are.
    setMaxListeners(0, this.stopping.signal, this.closing.signal);
    this.voice = new Voice(this.#place, say);
    this.client = new Kafka({
      clientId: worker,
      brokers: servers.split(",").map((one) => one.trim()),
      logLevel: logLevel.NOTHING, // it says the same trouble many times; `Voice` says it once
      retry: { initialRetryTime: 100, maxRetryTime: 2_000, retries: 3 },
      ...options,
    });
    const producer = this.client.producer({
      allowAutoTopicCreation: false,
      createPartitioner: Partitioners.DefaultPartitioner, // otherwise it warns that this is new
    });
    this.sender = new Sender(producer, this.voice, this.closing.signal);
  }

  /** Begins to take jobs. */
  start(): void {
    this.#readers = this.actions.map((action) => this.#read(action).catch(this.broken));
  }

  /** Takes no more; what is at work goes on. */
  stop(): void {
    this.stopping.abort();
  }

  /**
   * Commits what is finished and leaves the groups: the rest is given to others. False: Kafka was
   * not left in time, and its client may still hold on to the process.
   */
  async close(): Promise<boolean> {
    this.closing.abort();
    const hasLeft = await within(CLOSE_MS, Promise.all(this.#readers));
    const hasSent = await within(CLOSE_MS, this.sender.close());
    if (!hasLeft || !hasSent) this.say(`${this.#place}: not left in ${CLOSE_MS / 1_000} s`);
    return hasLeft && hasSent;
  }

  /** A group has given this worker its share. */
  isReady(action: string): void {
    if (this.#ready.has(action)) return;
    this.#ready.add(action);
    if (this.#ready.size === this.actions.length) {
      this.say(`ready: ${this.actions.join(", ")} from ${this.#place}`);
    }
  }

  async #read(action: string): Promise<void> {
    await this.#waitTopics();
    for (let tries = 1; !this.stopping.signal.aborted; tries += 1) {
      const reader = new Reader(this, action);
      // kafkajs gives up for good after some kinds of trouble; then it is begun anew.
      const trouble = await reader.run();
      if (reader.hasJoined) tries = 1;
      if (trouble) {
        this.voice.away(...troubleOf(trouble));
        await pause(waitMs(tries), this.stopping.signal);
      }
    }
  }

  async #waitTopics(): Promise<void> {
    for (let tries = 1; !this.stopping.signal.aborted; tries += 1) {
      const admin = this.client.admin();
      try {
        await admin.connect();
        const there = await admin.listTopics();
        const missing = [JOBS, RESULTS].find((one) => !there.includes(one));
        if (!missing) {
          this.voice.back();
          return;
        }
        this.voice.away(`it has no topic ${missing}, or none for this worker`);
      } catch (error) {
        this.voice.away(...troubleOf(error));
      } finally {
        await admin.disconnect().catch(() => {});
      }
      await pause(waitMs(tries), this.stopping.signal);
    }
  }
}

/** The jobs of one action, as long as one consumer lives. */
class Reader {
  hasJoined = false;
  readonly #consumer: Consumer;
  readonly #committed = new Map<number, bigint>();
  #offsets = new Map<number, Offsets>();
  #isPaused = false;

  constructor(
    private readonly jobs: KafkaJobs,
    private readonly action: string,
  ) {
    this.#consumer = jobs.client.consumer({
      groupId: `workflow-worker.${action}`,
      partitionAssigners: [range],
      allowAutoTopicCreation: false,
      // A worker that was killed is noticed after this.
      sessionTimeout: 10_000,
      heartbeatInterval: 2_000,
      maxWaitTimeInMs: 1_000,
      maxBytesPerPartition: 4 * 1_048_576,
    });
  }

  /** Until the worker closes, or there is trouble. */
  async run(): Promise<Error | undefined> {
    const consumer = this.#consumer;
    let timer: NodeJS.Timeout | undefined;
    try {
      const ended = new Promise<Error | undefined>((resolve) => {
        this.jobs.closing.signal.addEventListener("abort", () => resolve(undefined));
        consumer.on(consumer.events.CRASH, ({ payload }) => {
          if (!payload.restart) resolve(payload.error);
          else this.jobs.voice.away(...troubleOf(payload.error));
        });
      });
      consumer.on(consumer.events.GROUP_JOIN, () => this.#joined());
      consumer.on(consumer.events.FETCH, () => this.jobs.voice.back());
      await consumer.connect();
      await consumer.subscribe({ topics: [JOBS], fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        eachBatch: (payload) => this.#batch(payload),
      });
      timer = setInterval(() => void this.#tick(), COMMIT_MS);
      return await ended;
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    } finally {
      clearInterval(timer);
      await this.#commit();
      await consumer.disconnect().catch(() => {});
    }
  }

  async #batch({
    batch, resolveOffset, heartbeat, isRunning, isStale,
  }: EachBatchPayload): Promise<void> {
    const { desk, sender, stopping } = this.jobs;
    const offsets = this.#of(batch.partition);
    for (const message of batch.messages) {
      while ((desk.room === 0 || sender.isFull) && !stopping.signal.aborted) {
        await heartbeat(); // throws when the group changes: what is left comes again
        if (sender.isFull) await pause(50, stopping.signal);
        else await desk.waitRoom(500, stopping.signal);
      }
      if (stopping.signal.aborted || !isRunning() || isStale()) return;
      if (offsets !== this.#of(batch.partition)) return;
      this.#handle(batch.partition, message, offsets);
      resolveOffset(message.offset);
    }
    await heartbeat();
  }

  #handle(partition: number, message: KafkaMessage, offsets: Offsets): void {
    const { desk, sender, worker } = this.jobs;
    const offset = BigInt(message.offset);
    let job;
    try {
      job = readMessage(this.action, headerOf(message.headers, "action"), message.value);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      offsets.begin(offset);
      this.jobs.say(
        `a job that cannot be read (${error.message}) is put aside in ${DEAD_LETTERS}: ` +
          `partition ${partition}, offset ${message.offset}`,
      );
      sender.send({
        topic: DEAD_LETTERS,
        message: {
          key: message.key,
          value: message.value,
          headers: {
            ...message.headers,
            reason: error.message,
            topic: JOBS,
            partition: String(partition),
            offset: message.offset,
          },
        },
        arrived: () => offsets.finish(offset),
      });
      return;
    }
    if (!job) {
      offsets.skip(offset);
      return;
    }
    const taken = job;
    offsets.begin(offset);
    desk.take(taken, (outcome) => {
      const value = result(taken, outcome, worker);
      sender.send({
        topic: RESULTS,
        message: { key: taken.run, value },
        smaller: () => result(taken, tooLarge(Buffer.byteLength(value)), worker),
        arrived: () => {
          offsets.finish(offset);
          desk.sent();
        },
      });
    });
  }

  #of(partition: number): Offsets {
    let offsets = this.#offsets.get(partition);
    if (!offsets) this.#offsets.set(partition, (offsets = new Offsets()));
    return offsets;
  }

  #joined(): void {
    this.hasJoined = true;
    // From here on everything that was not committed comes again.
    this.#offsets = new Map();
    this.#committed.clear();
    this.jobs.voice.back();
    this.jobs.isReady(this.action);
  }

  async #tick(): Promise<void> {
    if (this.jobs.stopping.signal.aborted && !this.#isPaused) {
      this.#isPaused = true;
      this.#consumer.pause([{ topic: JOBS }]);
    }
    await this.#commit();
  }

  async #commit(): Promise<void> {
    const offsets = [...this.#offsets]
      .map(([partition, { position }]) => ({ partition, position }))
      .filter((one) => one.position > (this.#committed.get(one.partition) ?? 0n));
    if (!offsets.length) return;
    for (const one of offsets) this.#committed.set(one.partition, one.position);
    try {
      await this.#consumer.commitOffsets(offsets.map(({ partition, position }) => ({
        topic: JOBS, partition, offset: String(position),
      })));
    } catch {
      // The group has changed, or Kafka is away: what was not committed comes again.
      for (const one of offsets) this.#committed.delete(one.partition);
    }
  }
}

interface Sending {
  readonly topic: string;
  readonly message: {
    key: Buffer | string | null;
    value: Buffer | string | null;
    headers?: IHeaders;
  };
  /** Instead of what is too large. */
  readonly smaller?: () => string;
  readonly arrived: () => void;
}

/** Sends in batches, one at a time, and sends again until Kafka has acknowledged. */
class Sender {
  readonly #queue: Sending[] = [];
  #sending: Promise<void> | undefined;
  #isConnected = false;

  constructor(
    private readonly producer: Producer,
    private readonly voice: Voice,
    private readonly closing: AbortSignal,
  ) {
    producer.on(producer.events.DISCONNECT, () => (this.#isConnected = false));
  }

  /** Whether enough waits. */
  get isFull(): boolean {
    return this.#queue.length >= WAITING_MAX;
  }

  /** Sends, and calls `arrived` once it is kept. */
  send(one: Sending): void {
    this.#queue.push(one);
    // Not at once: what else ends in this turn of the loop goes with it.
    this.#sending ??= new Promise((resolve) => setImmediate(resolve))
      .then(() => this.#drain())
      .finally(() => (this.#sending = undefined));
  }

  async close(): Promise<void> {
    await this.#sending;
    await this.producer.disconnect().catch(() => {});
  }

  async #drain(): Promise<void> {
    for (let tries = 0; this.#queue.length; ) {
      const batch = this.#batch();
      try {
        if (!this.#isConnected) {
          await this.producer.connect();
          this.#isConnected = true;
        }
        await this.producer.sendBatch({ acks: -1, topicMessages: byTopic(batch) });
      } catch (error) {
        if (isTooLarge(error)) {
          if (batch.length === 1) this.#queue[0] = smaller(batch[0] as Sending);
          else for (const one of batch.splice(0)) await this.#alone(one);
          continue;
        }
        if (this.closing.aborted) return; // it was tried: the worker's grace is over
        tries += 1;
        this.voice.away(...troubleOf(error));
        await pause(waitMs(tries), this.closing);
        continue;
      }
      tries = 0;
      this.voice.back();
      this.#queue.splice(0, batch.length);
      for (const one of batch) one.arrived();
    }
  }

  /** Sends one of a batch in which something was too large. */
  async #alone(one: Sending): Promise<void> {
    const index = this.#queue.indexOf(one);
    try {
      await this.producer.sendBatch({ acks: -1, topicMessages: byTopic([one]) });
    } catch (error) {
      if (isTooLarge(error)) this.#queue[index] = smaller(one);
      return; // any other trouble is met again
    }
    this.#queue.splice(index, 1);
    one.arrived();
  }

  #batch(): Sending[] {
    let bytes = 0;
    let count = 0;
    for (const { message } of this.#queue) {
      bytes += message.value?.length ?? 0;
      if (count > 0 && bytes > BATCH_BYTES_MAX) break;
      count += 1;
      if (count === BATCH) break;
    }
    return this.#queue.slice(0, count);
  }
}

function smaller(one: Sending): Sending {
  const value = one.smaller?.() ?? null;
  return { topic: one.topic, arrived: one.arrived, message: { ...one.message, value } };
}

function byTopic(batch: readonly Sending[]): { topic: string; messages: Sending["message"][] }[] {
  const found = new Map<string, Sending["message"][]>();
  for (const { topic, message } of batch) {
    const messages = found.get(topic);
    if (messages) messages.push(message);
    else found.set(topic, [message]);
  }
  return [...found].map(([topic, messages]) => ({ topic, messages }));
}

/** What an error means, in words for whoever runs the worker, and its kind for `Voice`. */
function troubleOf(error: unknown): [trouble: string, kind: string] {
  for (let one = error; one instanceof Error; one = one.cause) {
    const type = one instanceof KafkaJSProtocolError ? one.type : "";
    if (one.name === "KafkaJSSASLAuthenticationError" || type === "SASL_AUTHENTICATION_FAILED") {
      return [`it does not let this worker in (${one.message})`, "authentication"];
    }
    if (type.endsWith("AUTHORIZATION_FAILED")) {
      return [`it does not let this worker do its work (${one.message})`, "rights"];
    }
    if (/certificate|SSL|TLS/i.test(one.message)) {
      return [`TLS with it fails (${one.message})`, "tls"];
    }
  }
  return [`it cannot be reached (${error instanceof Error ? error.message : String(error)})`, ""];
}

function isTooLarge(error: unknown): boolean {
  for (let one = error; one instanceof Error; one = one.cause) {
    if (one instanceof KafkaJSProtocolError) {
      return one.type === "MESSAGE_TOO_LARGE" || one.type === "RECORD_LIST_TOO_LARGE";
    }
  }
  return false;
}

function headerOf(headers: IHeaders | undefined, name: string): string | undefined {
  const value = headers?.[name];
  const one = Array.isArray(value) ? value[0] : value;
  return one === undefined ? undefined : one.toString();
}

/** The strategy that the clients of all languages know. */
const range: PartitionAssigner = ({ cluster }) => ({
  name: "range",
  version: 0,
  protocol: ({ topics }) => ({
    name: "range",
    metadata: AssignerProtocol.MemberMetadata.encode({
      version: 0,
      topics,
      userData: Buffer.alloc(0),
    }),
  }),
  assign: async ({ members, topics }) => {
    const shares = new Map(
      members.map((one) => [one.memberId, {} as Record<string, number[]>] as const),
    );
    const ids = [...shares.keys()].sort();
    for (const topic of topics) {
      const partitions = cluster
        .findTopicPartitionMetadata(topic)
        .map((one) => one.partitionId)
        .sort((a, b) => a - b);
      const least = Math.floor(partitions.length / ids.length);
      const more = partitions.length % ids.length;
      ids.forEach((id, index) => {
        const share = shares.get(id);
        if (share) share[topic] = partitions.splice(0, least + (index < more ? 1 : 0));
      });
    }
    return ids.map((memberId) => ({
      memberId,
      memberAssignment: AssignerProtocol.MemberAssignment.encode({
        version: 0,
        assignment: shares.get(memberId) ?? {},
        userData: Buffer.alloc(0),
      }),
    }));
  },
});
