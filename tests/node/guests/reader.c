/* Reads a body of any length in parts, and answers how long it is and in how many parts it came. */
#include "job1.h"

const job_value *job_work(const job_input *job) {
    job_value *asked = job_map(), *outputs = job_map();
    job_set(asked, TEXT("url"), job_get(job->variables, TEXT("url")));
    job_set(asked, TEXT("stream"), job_bool(true));
    job_reply head = job_call(TEXT("http.fetch"), asked);
    if (head.code) return job_failed(head.message);
    int64_t length = 0, parts = 0;
    job_value *more = job_map();
    job_set(more, TEXT("stream"), job_get(head.reply, TEXT("stream")));
    for (;;) {
        job_reply part = job_call(TEXT("http.read"), more);
        if (part.code) return job_failed(part.message);
        length += job_text_of(job_get(part.reply, TEXT("body"))).length;
        parts++;
        if (job_true(job_get(part.reply, TEXT("end")))) break;
    }
    job_set(outputs, TEXT("length"), job_int(length));
    job_set(outputs, TEXT("parts"), job_int(parts));
    return job_completed(outputs);
}
