/* Answers the list `numbers` as it reads it: each number becomes a double and text again. */
#include "job1.h"

const job_value *job_work(const job_input *job) {
    job_value *read = job_array(), *outputs = job_map();
    const job_value *number = job_first(job_get(job->variables, TEXT("numbers")));
    for (; number; number = number->next) job_append(read, job_double(job_double_of(number, 0)));
    job_set(outputs, TEXT("numbers"), read);
    return job_completed(outputs);
}
