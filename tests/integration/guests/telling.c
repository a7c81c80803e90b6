/* Tells the test's server of its job, and completes when that has answered. */
#include "job1.h"

const job_value *job_work(const job_input *job) {
    job_text url = JOIN(job_config(TEXT("server")), TEXT("/"), job->topic);
    job_answer answer = job_fetch(TEXT("POST"), url, job->key, NULL);
    if (answer.code != JOB_OK) return job_failed(answer.message);
    return job_completed(job_map());
}
