// Asks the service `price`, says how far it is, and ends as that one did.
import {
  Job, Outcome, Value, callService, progress, serve,
} from "../../../sdk-wasm/assemblyscript/job1";
export { alloc, handle, job_abi } from "../../../sdk-wasm/assemblyscript/job1";

serve((job: Job): Outcome => {
  progress(0.5, "asks");
  const price = callService("price", job.variables);
  if (price.code) return Outcome.failed("No price: " + price.message);
  if (!price.completed) return price.outcome;
  return Outcome.completed(Value.map()
    .put("euros", price.variables.get("euros"))
    .put("said", Value.string(price.message))
    .put("error", Value.string(price.error)));
});
