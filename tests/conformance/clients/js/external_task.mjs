// The hotel's six topics, worked by camunda-external-task-client-js with typed variables.
//
// Arguments: base URL of the REST API, prefix of the topics. Ends when its standard input does.

import { Client, Variables } from "camunda-external-task-client-js";

const [baseUrl, prefix] = process.argv.slice(2);
const client = new Client({
  baseUrl,
  workerId: "js7",
  asyncResponseTimeout: 10_000,
  lockDuration: 20_000,
  interval: 20,
});

const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

// What fails is said, and tried again by the client.
for (const failure of ["poll:error", "handler:error", "complete:error", "handleBpmnError:error"]) {
  client.on(failure, (...details) => console.error(failure, ...details));
}

function work(topic, options, handler) {
  client.subscribe(prefix + topic, options, async ({ task, taskService }) => {
    const typed = Object.entries(task.variables.getAllTyped());
    say({
      topic: task.topicName,
      job: task.id,
      instance: task.processInstanceId,
      variables: Object.fromEntries(typed.map(([name, { value }]) => [name, value])),
      types: Object.fromEntries(typed.map(([name, { type }]) => [name, type])),
    });
    await handler(task, taskService);
  });
}

const TASK_ERROR = "TASK_ERROR";

work("validate-input", {}, async (task, tasks) => {
  const outputs = new Variables();
  if (task.variables.get("guests") < 1) {
    const message = "guests must be 1 to 8";
    outputs.setAll({ valid: false, status: "invalid", error_message: message });
    return tasks.handleBpmnError(task, TASK_ERROR, message, outputs);
  }
  const days = Date.parse(task.variables.get("check_out")) - Date.parse(task.variables.get("check_in"));
  outputs.set("valid", true);
  outputs.setTyped("nights", { type: "Integer", value: days / 86_400_000, valueInfo: {} });
  return tasks.complete(task, outputs);
});

work("search-client", { variables: ["email"] }, async (task, tasks) => {
  const found = task.variables.get("email").startsWith("regular");
  const outputs = new Variables();
  outputs.set("clientFound", found);
  if (found) outputs.set("client_id", "C-regular");
  return tasks.complete(task, outputs);
});

work("create-client", { variables: ["reservation_id", "email"] }, async (task, tasks) => {
  const outputs = new Variables();
  outputs.set("client_id", "C-" + task.variables.get("reservation_id"));
  return tasks.complete(task, outputs);
});

work("check-room-availability", {}, async (task, tasks) => {
  const outputs = new Variables();
  if (task.variables.get("room_type") === "penthouse") {
    outputs.setAll({ roomAvailable: false, status: "rejected" });
  } else {
    outputs.setAll({
      roomAvailable: true,
      selected_room_id: "301",
      price: 120.5,
      room: { floor: 3, beds: ["queen", "sofa"], view: null },
      discount: null,
    });
    // The largest whole number that JavaScript has for certain.
    outputs.setTyped("rate_code", { type: "Long", value: Number.MAX_SAFE_INTEGER, valueInfo: {} });
  }
  return tasks.complete(task, outputs);
});

work("block-room", {}, async (task, tasks) => {
  const outputs = new Variables();
  if (task.variables.get("room_type") === "suite") {
    const message = "the last suite went to somebody else meanwhile";
    outputs.setAll({ room_blocked: false, status: "rejected", error_message: message });
    return tasks.handleBpmnError(task, TASK_ERROR, message, outputs);
  }
  outputs.setAll({ room_blocked: true, room_id: task.variables.get("selected_room_id") });
  outputs.set("blocked_until", new Date("2030-01-01T00:00:00Z"));
  return tasks.complete(task, outputs);
});

work("create-booking", {}, async (task, tasks) => {
  const outputs = new Variables();
  outputs.set("booking_id", "B-" + task.variables.get("reservation_id"));
  const total = task.variables.get("price") * task.variables.get("nights");
  outputs.setTyped("total", { type: "Double", value: total, valueInfo: {} });
  outputs.set("status", "confirmed");
  return tasks.complete(task, outputs);
});

say({ ready: true });
process.stdin.on("end", () => process.exit(0)).resume();
