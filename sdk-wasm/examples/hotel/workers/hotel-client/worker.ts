// The client of a reservation: search-client and create-client.
//
// The client service is where this node's configuration says. Creating carries the job's key, so
// a second try of the same job has no second effect.

import { Answer, Code, Job, Outcome, Value, config, fetch, serve } from "../../../../assemblyscript/job1";
export { alloc, handle, job_abi } from "../../../../assemblyscript/job1";

const FIELDS: string[] = ["reservation_id", "first_name", "last_name", "email", "phone"];

/** The service did not do what it should: a technical failure, to be tried again. */
function unusable(answer: Answer): Outcome {
  const why = answer.code == Code.Ok
    ? "it answered " + answer.status.toString() + " " + answer.body.get("error").asString
    : answer.message;
  return Outcome.failed("The client service did not help: " + why);
}

function search(origin: string, job: Job): Outcome {
  const email = encodeURIComponent(job.text("email"));
  const answer = fetch("GET", origin + "/api/client/search?email=" + email);
  if (answer.status != 200) return unusable(answer);
  const outputs = Value.map().put("clientFound", answer.body.get("found"));
  const client = answer.body.get("client_id");
  if (!client.isNull) outputs.put("client_id", client);
  return Outcome.completed(outputs);
}

function create(origin: string, job: Job): Outcome {
  const request = Value.map();
  for (let i = 0; i < FIELDS.length; i++) request.set(FIELDS[i], job.text(FIELDS[i]));
  const answer = fetch("POST", origin + "/api/client/create", job.key, request);
  if (answer.status != 200 && answer.status != 201) return unusable(answer);
  return Outcome.completed(Value.map().put("client_id", answer.body.get("client_id")));
}

serve((job: Job): Outcome => {
  const origin = config("client");
  if (origin == "")
    return Outcome.failed("This node's configuration does not say where the client service is.");
  if (job.topic == "search-client") return search(origin, job);
  if (job.topic == "create-client") return create(origin, job);
  return Outcome.failed("hotel-client does not work on " + job.topic + ".");
});
