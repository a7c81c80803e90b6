// The hotel's six job types, worked by @camunda8/sdk over gRPC.
//
// Arguments: HOST:PORT of the gRPC gateway, prefix of the types. Ends when its standard input does.

import { Camunda8 } from "@camunda8/sdk";

const [address, prefix] = process.argv.slice(2);
const zeebe = new Camunda8({
  ZEEBE_GRPC_ADDRESS: `grpc://${address}`,
  CAMUNDA_AUTH_STRATEGY: "NONE",
  CAMUNDA_LOG_LEVEL: "warn",
}).getZeebeGrpcApiClient();

const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

function work(type, taskHandler, fetchVariable) {
  const worker = zeebe.createWorker({
    taskType: prefix + type,
    fetchVariable,
    timeout: 20_000,
    taskHandler: (job) => {
      say({
        topic: job.type,
        job: job.key,
        instance: job.processInstanceKey,
        variables: job.variables,
      });
      return taskHandler(job);
    },
  });
  return new Promise((resolve) => worker.on("ready", resolve));
}

const errorCode = "TASK_ERROR";

const ready = [
  work("validate-input", (job) => {
    const { guests, check_in, check_out } = job.variables;
    if (guests < 1) {
      const errorMessage = "guests must be 1 to 8";
      const variables = { valid: false, status: "invalid", error_message: errorMessage };
      return job.error({ errorCode, errorMessage, variables });
    }
    const nights = (Date.parse(check_out) - Date.parse(check_in)) / 86_400_000;
    return job.complete({ valid: true, nights });
  }),
  work(
    "search-client",
    (job) =>
      job.variables.email.startsWith("regular")
        ? job.complete({ clientFound: true, client_id: "C-regular" })
        : job.complete({ clientFound: false }),
    ["email"],
  ),
  work(
    "create-client",
    (job) => job.complete({ client_id: "C-" + job.variables.reservation_id }),
    ["reservation_id", "email"],
  ),
  work("check-room-availability", (job) =>
    job.variables.room_type === "penthouse"
      ? job.complete({ roomAvailable: false, status: "rejected" })
      : job.complete({
          roomAvailable: true,
          selected_room_id: "301",
          price: 120.5,
          // The largest whole number that JavaScript has for certain.
          rate_code: Number.MAX_SAFE_INTEGER,
          room: { floor: 3, beds: ["queen", "sofa"], view: null },
          discount: null,
        }),
  ),
  work("block-room", (job) => {
    const { room_type, selected_room_id } = job.variables;
    if (room_type === "suite") {
      const errorMessage = "the last suite went to somebody else meanwhile";
      const variables = { room_blocked: false, status: "rejected", error_message: errorMessage };
      return job.error({ errorCode, errorMessage, variables });
    }
    const blocked_until = "2030-01-01T00:00:00Z";
    return job.complete({ room_blocked: true, room_id: selected_room_id, blocked_until });
  }),
  work("create-booking", (job) => {
    const { reservation_id, price, nights } = job.variables;
    const booking_id = "B-" + reservation_id;
    return job.complete({ booking_id, total: price * nights, status: "confirmed" });
  }),
];

await Promise.all(ready);
say({ ready: true });
process.stdin.on("end", () => process.exit(0)).resume();
