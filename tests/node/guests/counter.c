/* Counts the jobs of `name` in the service's kv, and answers what else begins so. */
#include "job1.h"

const job_value *job_work(const job_input *job) {
    job_text name = job_text_of(job_get(job->variables, TEXT("name")));
    if (job_true(job_get(job->variables, TEXT("forget")))) {
        job_entry gone = job_kv_delete(name, JOB_ANY_VERSION);
        return gone.done ? job_completed(job_map()) : job_failed(TEXT("There was nothing."));
    }
    for (;;) {
        job_entry was = job_kv_get(name);
        if (was.code) return job_failed(was.message);
        int64_t count = job_int_of(was.value, 0) + 1;
        job_entry now = job_kv_put(name, job_int(count), was.version);
        if (now.code) return job_failed(now.message);
        if (!now.done) continue;
        job_value *outputs = job_map();
        job_set(outputs, TEXT("count"), job_int(count));
        job_set(outputs, TEXT("keys"), job_get(job_kv_list(name, TEXT("")).reply, TEXT("keys")));
        return job_completed(outputs);
    }
}
