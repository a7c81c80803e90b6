/* The worker of SERVICE_NAME. job1.h says what there is to use. */
#include "job1.h"

const job_value *job_work(const job_input *job) {
    job_text name = job_text_of(job_get(job->variables, TEXT("name")));
    if (!name.length) return job_bpmn_error(TEXT("NO_NAME"), TEXT("name is missing"), job_map());

    job_value *outputs = job_map();
    job_set(outputs, TEXT("greeting"), job_string(JOIN(TEXT("Hello, "), name, TEXT("!"))));
    return job_completed(outputs);
}
