/* A step of a workflow. Of an object it doubles the amount, and calls a negative one an error of the
 * business; to a payload that is a number it adds one. */
#include "job1.h"

const job_value *job_work(const job_input *job) {
    const job_value *payload = job_get(job->variables, TEXT("payload"));
    job_value *outputs = job_map();
    if (payload->kind == JOB_INT) {
        job_set(outputs, TEXT("output"), job_int(job_int_of(payload, 0) + 1));
        return job_completed(outputs);
    }
    int64_t amount = job_int_of(job_get(job->variables, TEXT("amount")), 0);
    if (amount < 0) return job_bpmn_error(TEXT("NEGATIVE"), TEXT("no debts"), job_map());
    const job_value *headers = job_get(job->info, TEXT("headers"));
    job_set(outputs, TEXT("total"), job_int(amount * 2));
    job_set(outputs, TEXT("key"), job_get(headers, TEXT("key")));
    return job_completed(outputs);
}
