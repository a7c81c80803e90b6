/* Tells the sink of its job, and writes one variable that the engine's history can be asked for. */
#include "job1.h"

const job_value *job_work(const job_input *job) {
    job_text url = JOIN(job_config(TEXT("server")), TEXT("/"), job->topic);
    job_answer answer = job_fetch(TEXT("POST"), url, job->key, NULL);
    if (answer.code != JOB_OK) return job_failed(answer.message);
    job_value *outputs = job_map();
    job_set(outputs, TEXT("worked"), job_string(job->key));
    return job_completed(outputs);
}
