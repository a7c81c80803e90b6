// Greets whoever the variable `name` names; nobody to greet is an error of the process.
import { Job, Outcome, Value, serve } from "./job1";
export { alloc, handle, job_abi } from "./job1";

serve((job: Job): Outcome => {
  const name = job.text("name");
  if (name == "") return Outcome.bpmnError("NO_NAME", "There is nobody to greet.");
  return Outcome.completed(Value.map().set("greeting", "Hello, " + name + "!"));
});
