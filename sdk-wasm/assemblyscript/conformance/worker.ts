// The conformance worker of ABI.md §7: what `vectors/worker.json` tests.

import { Code, Job, Outcome, Value, call, log, nowMs, random, serve } from "../job1";
export { alloc, handle, job_abi } from "../job1";

const DESCRIBED: string[] = [
  "key", "topic", "engine", "retries", "business_key", "process_id", "process_instance_key",
  "element_id", "tenant", "headers",
];

function describe(job: Job): Outcome {
  const outputs = Value.map();
  for (let i = 0; i < DESCRIBED.length; i++) {
    outputs.put(DESCRIBED[i], job.info.get(DESCRIBED[i]));
  }
  outputs.put("in_time", Value.bool(job.info.get("deadline_ms").asInt() > 0));
  return Outcome.completed(outputs);
}

function error(job: Job): Outcome {
  const types = Value.map();
  const type = job.types.get("reason");
  if (!type.isNull) types.put("reason", type);
  const outputs = Value.map().put("reason", job.variables.get("reason"));
  return Outcome.bpmnError(job.text("code"), job.text("message"), outputs).with("types", types);
}

function fail(job: Job): Outcome {
  const outcome = Outcome.failed(job.text("message"));
  const optional = ["retries", "backoff_ms", "details"];
  for (let i = 0; i < optional.length; i++) {
    const value = job.variables.get(optional[i]);
    if (!value.isNull) outcome.with(optional[i], value);
  }
  return outcome;
}

function callHost(job: Job): Outcome {
  const reply = call(job.text("op"), job.variables.get("request"));
  const outputs = Value.map().put("code", Value.int(reply.code));
  if (reply.code == Code.Ok) outputs.put("reply", reply.value);
  else outputs.set("message", reply.message);
  return Outcome.completed(outputs);
}

function clock(): Outcome {
  const first = random(16);
  const second = random(16);
  let differs = false;
  for (let i = 0; i < 16; i++) differs = differs || first[i] != second[i];
  const outputs = Value.map()
    .put("later", Value.bool(nowMs() > 1700000000000))
    .put("random_differs", Value.bool(differs));
  return Outcome.completed(outputs);
}

function spin(): Outcome {
  while (true) {}
}

serve((job: Job): Outcome => {
  const what = job.text("do");
  if (what == "" || what == "echo")
    return Outcome.completed(job.variables).with("types", job.types);
  if (what == "sum") {
    const sum = job.variables.get("a").asInt() + job.variables.get("b").asInt();
    return Outcome.completed(Value.map().put("sum", Value.int(sum)));
  }
  if (what == "describe") return describe(job);
  if (what == "error") return error(job);
  if (what == "fail") return fail(job);
  if (what == "call") return callHost(job);
  if (what == "log") {
    log(i32(job.variables.get("level").asInt()), job.text("text"));
    return Outcome.completed(Value.map());
  }
  if (what == "clock") return clock();
  if (what == "trap") unreachable();
  if (what == "spin") return spin();
  return Outcome.failed("The conformance worker does not know how to " + what + ".");
});
