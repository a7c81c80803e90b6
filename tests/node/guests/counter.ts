// Counts the jobs of `name` in the service's kv, and answers what else begins so.
import {
  Code, Job, Outcome, Value, kvDelete, kvGet, kvList, kvPut, serve,
} from "../../../sdk-wasm/assemblyscript/job1";
export { alloc, handle, job_abi } from "../../../sdk-wasm/assemblyscript/job1";

serve((job: Job): Outcome => {
  const name = job.variables.get("name").asString;
  if (job.variables.get("forget").isTrue) {
    if (kvDelete(name).done) return Outcome.completed(Value.map());
    return Outcome.failed("There was nothing.");
  }
  for (;;) {
    const was = kvGet(name);
    if (was.code != Code.Ok) return Outcome.failed(was.message);
    const count = was.value.asInt() + 1;
    const now = kvPut(name, Value.int(count), was.version);
    if (now.code != Code.Ok) return Outcome.failed(now.message);
    if (!now.done) continue;
    return Outcome.completed(
      Value.map().put("count", Value.int(count)).put("keys", kvList(name).value.get("keys")),
    );
  }
});
