// Answers the list `numbers` as it reads it: each number becomes a double and text again.
import { Job, Outcome, Value, serve } from "../../../sdk-wasm/assemblyscript/job1";
export { alloc, handle, job_abi } from "../../../sdk-wasm/assemblyscript/job1";

serve((job: Job): Outcome => {
  const numbers = job.variables.get("numbers");
  const read = Value.array();
  for (let i = 0; i < numbers.length; i++) read.push(Value.double(numbers.at(i).asDouble()));
  return Outcome.completed(Value.map().put("numbers", read));
});
