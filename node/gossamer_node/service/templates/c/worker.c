/* Greets whoever the variable `name` names; nobody to greet is an error of the process. */
#include "job1.h"

const job_value *job_work(const job_input *job) {
    job_text name = job_text_of(job_get(job->variables, TEXT("name")));
    if (name.length == 0)
        return job_bpmn_error(TEXT("NO_NAME"), TEXT("There is nobody to greet."), job_map());
    job_value *outputs = job_map();
    job_set(outputs, TEXT("greeting"), job_string(JOIN(TEXT("Hello, "), name, TEXT("!"))));
    return job_completed(outputs);
}
