/* The conformance worker of ABI.md §7: what `vectors/worker.json` tests. */
#include "job1.h"

static const job_value *variable(const job_input *job, job_text name) {
    return job_get(job->variables, name);
}

static const job_value *describe(const job_input *job) {
    static const job_text NAMES[] = {
        {"key", 3},          {"topic", 5},      {"engine", 6},
        {"retries", 7},      {"tenant", 6},     {"business_key", 12},
        {"process_id", 10},  {"headers", 7},    {"process_instance_key", 20},
        {"element_id", 10},
    };
    job_value *outputs = job_map();
    for (uint32_t i = 0; i < sizeof(NAMES) / sizeof(*NAMES); i++)
        job_set(outputs, NAMES[i], job_get(job->info, NAMES[i]));
    bool in_time = job_int_of(job_get(job->info, TEXT("deadline_ms")), 0) > 0;
    job_set(outputs, TEXT("in_time"), job_bool(in_time));
    return job_completed(outputs);
}

static const job_value *error(const job_input *job) {
    job_value *outputs = job_map(), *types = job_map();
    const job_value *type = job_get(job->types, TEXT("reason"));
    job_set(outputs, TEXT("reason"), variable(job, TEXT("reason")));
    if (type->kind != JOB_NULL) job_set(types, TEXT("reason"), type);
    job_value *outcome = job_bpmn_error(job_text_of(variable(job, TEXT("code"))),
                                        job_text_of(variable(job, TEXT("message"))), outputs);
    return job_with(outcome, TEXT("types"), types);
}

static const job_value *fail(const job_input *job) {
    static const job_text OPTIONAL[] = {{"retries", 7}, {"backoff_ms", 10}, {"details", 7}};
    job_value *outcome = job_failed(job_text_of(variable(job, TEXT("message"))));
    for (uint32_t i = 0; i < sizeof(OPTIONAL) / sizeof(*OPTIONAL); i++) {
        const job_value *value = variable(job, OPTIONAL[i]);
        if (value->kind != JOB_NULL) job_with(outcome, OPTIONAL[i], value);
    }
    return outcome;
}

static const job_value *call(const job_input *job) {
    job_reply reply =
        job_call(job_text_of(variable(job, TEXT("op"))), variable(job, TEXT("request")));
    job_value *outputs = job_map();
    job_set(outputs, TEXT("code"), job_int(reply.code));
    if (reply.code == JOB_OK)
        job_set(outputs, TEXT("reply"), reply.reply);
    else
        job_set(outputs, TEXT("message"), job_string(reply.message));
    return job_completed(outputs);
}

static const job_value *clock_and_random(void) {
    uint64_t first[2], second[2];
    job_random(first, sizeof first);
    job_random(second, sizeof second);
    job_value *outputs = job_map();
    job_set(outputs, TEXT("later"), job_bool(job_now_ms() > 1700000000000));
    job_set(outputs, TEXT("random_differs"),
            job_bool(first[0] != second[0] || first[1] != second[1]));
    return job_completed(outputs);
}

const job_value *job_work(const job_input *job) {
    job_text what = job_text_of(variable(job, TEXT("do")));
    if (!what.length || job_same(what, TEXT("echo")))
        return job_with(job_completed(job->variables), TEXT("types"), job->types);
    if (job_same(what, TEXT("sum"))) {
        job_value *outputs = job_map();
        job_set(outputs, TEXT("sum"), job_int(job_int_of(variable(job, TEXT("a")), 0) +
                                              job_int_of(variable(job, TEXT("b")), 0)));
        return job_completed(outputs);
    }
    if (job_same(what, TEXT("describe"))) return describe(job);
    if (job_same(what, TEXT("error"))) return error(job);
    if (job_same(what, TEXT("fail"))) return fail(job);
    if (job_same(what, TEXT("call"))) return call(job);
    if (job_same(what, TEXT("log"))) {
        job_log((int32_t)job_int_of(variable(job, TEXT("level")), JOB_INFO),
                job_text_of(variable(job, TEXT("text"))));
        return job_completed(job_map());
    }
    if (job_same(what, TEXT("clock"))) return clock_and_random();
    if (job_same(what, TEXT("trap"))) __builtin_trap();
    if (job_same(what, TEXT("spin")))
        for (volatile uint32_t turn = 0;; turn++) {
        }
    return job_failed(JOIN(TEXT("The conformance worker does not know how to "), what, TEXT(".")));
}
