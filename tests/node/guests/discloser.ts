// Logs its secret in every way, and answers how long it is, or fails with it.
import {
  Job, Level, Outcome, Value, log, secret, serve,
} from "../../../sdk-wasm/assemblyscript/job1";
export { alloc, handle, job_abi } from "../../../sdk-wasm/assemblyscript/job1";

serve((job: Job): Outcome => {
  const token = secret("token");
  log(Level.Info, "the token is " + token + ".");
  if (job.variables.get("fail").isTrue) return Outcome.failed("No entry with " + token + ".");
  return Outcome.completed(Value.map().put("length", Value.int(token.length)));
});
