/** Do the steps of Gossamer's workflows: jobs from Kafka, or over HTTP from a gateway. */

export type { Context, Handler } from "./desk.js";
export { type ErrorClass, WorkerError } from "./failures.js";
export type { Say } from "./voice.js";
export { type RegisterOptions, Worker, type WorkerOptions } from "./worker.js";
