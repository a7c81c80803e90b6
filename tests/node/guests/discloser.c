/* Logs its secret in every way, and answers how long it is, or fails with it. */
#include "job1.h"

const job_value *job_work(const job_input *job) {
    job_text secret = job_secret(TEXT("token"));
    job_log(JOB_INFO, JOIN(TEXT("the token is "), secret, TEXT(".")));
    if (job_true(job_get(job->variables, TEXT("fail"))))
        return job_failed(JOIN(TEXT("No entry with "), secret, TEXT(".")));
    job_value *outputs = job_map();
    job_set(outputs, TEXT("length"), job_int(secret.length));
    return job_completed(outputs);
}
