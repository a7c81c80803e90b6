/* A worker that somebody wrote for a restaurant: two topics, and a BPMN error. */
#include "job1.h"

const job_value *job_work(const job_input *job) {
    int64_t guests = job_int_of(job_get(job->variables, TEXT("guests")), 0);
    if (job_same(job->topic, TEXT("seat-guests"))) {
        if (guests > 8) return job_bpmn_error(TEXT("FULL"), TEXT("no table is as long"), job_map());
        return job_completed(job_map());
    }
    job_text name = job_text_of(job_get(job->variables, TEXT("name")));
    job_value *outputs = job_map();
    job_set(outputs, TEXT("card"),
            job_string(JOIN(name, TEXT(", party of "), job_decimal(guests))));
    return job_completed(outputs);
}
