/* Asks the service `price`, says how far it is, and ends as that one did. */
#include "job1.h"

const job_value *job_work(const job_input *job) {
    job_progress(0.5, TEXT("asks"));
    job_called price = job_call_service(TEXT("price"), job->variables);
    if (price.code) return job_failed(JOIN(TEXT("No price: "), price.message));
    if (!price.completed) return price.outcome;
    job_value *outputs = job_map();
    job_set(outputs, TEXT("euros"), job_get(price.variables, TEXT("euros")));
    job_set(outputs, TEXT("said"), job_string(price.message));
    job_set(outputs, TEXT("error"), job_string(price.error));
    return job_completed(outputs);
}
