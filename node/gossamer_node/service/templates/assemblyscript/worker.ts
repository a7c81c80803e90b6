// The worker of SERVICE_NAME. job1.ts says what there is to use.

import { Job, Outcome, Value, serve } from "./job1";
export { alloc, handle, job_abi } from "./job1";

serve((job: Job): Outcome => {
  const name = job.text("name");
  if (name == "") return Outcome.bpmnError("NO_NAME", "name is missing");

  return Outcome.completed(Value.map().set("greeting", "Hello, " + name + "!"));
});
