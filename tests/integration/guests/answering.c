/* Answers a request that a gateway's override sent here: with its method, path and a part of it. */
#include "job1.h"

const job_value *job_work(const job_input *job) {
    const job_value *parts = job_get(job->variables, TEXT("parts"));
    job_text method = job_text_of(job_get(job->variables, TEXT("method")));
    job_text id = job_text_of(job_get(parts, TEXT("id")));
    job_value *body = job_map();
    job_set(body, TEXT("method"), job_string(method));
    job_set(body, TEXT("id"), job_string(id));
    job_value *told = job_map();
    job_set(told, TEXT("status"), job_int(202));
    job_set(told, TEXT("body"), body);
    return job_completed(told);
}
