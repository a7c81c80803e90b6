/* The rooms and the booking: check-room-availability, block-room and create-booking.
 *
 * The microservices are where this node's configuration says. Whatever changes something there
 * carries the job's key, so a second try of the same job has no second effect. */
#include "job1.h"

static job_text variable(const job_input *job, job_text name) {
    return job_text_of(job_get(job->variables, name));
}

/* Copies variables into a request, by name. */
static job_value *request_of(const job_input *job, const job_text *names, uint32_t count) {
    job_value *request = job_map();
    for (uint32_t i = 0; i < count; i++)
        job_set(request, names[i], job_get(job->variables, names[i]));
    return request;
}

static job_answer ask(job_text method, job_text service, job_text path, job_text key,
                      const job_value *body) {
    job_text origin = job_config(service);
    if (!origin.length)
        return (job_answer){.code = JOB_DENIED,
                            .message = JOIN(TEXT("this node's configuration does not say where "),
                                            service, TEXT(" is"))};
    return job_fetch(method, JOIN(origin, path), key, body);
}

/* The service did not do what it should: a technical failure, to be tried again. */
static const job_value *unusable(job_text service, const job_answer *answer) {
    job_text why = answer->code == JOB_OK
                       ? JOIN(TEXT("it answered "), job_decimal(answer->status), TEXT(" "),
                              job_text_of(job_get(answer->body, TEXT("error"))))
                       : answer->message;
    return job_failed(JOIN(TEXT("The "), service, TEXT(" service did not help: "), why));
}

static const job_value *check_room_availability(const job_input *job) {
    job_text path = JOIN(
        TEXT("/api/room/availability?room_type="), job_url_encode(variable(job, TEXT("room_type"))),
        TEXT("&check_in="), job_url_encode(variable(job, TEXT("check_in"))),
        TEXT("&check_out="), job_url_encode(variable(job, TEXT("check_out"))));
    job_answer answer = ask(TEXT("GET"), TEXT("room"), path, TEXT(""), NULL);
    if (answer.status != 200) return unusable(TEXT("room"), &answer);
    bool available = job_true(job_get(answer.body, TEXT("available")));
    job_value *outputs = job_map();
    job_set(outputs, TEXT("roomAvailable"), job_bool(available));
    if (available)
        job_set(outputs, TEXT("selected_room_id"), job_get(answer.body, TEXT("room_id")));
    else
        job_set(outputs, TEXT("status"), job_string(TEXT("rejected")));
    return job_completed(outputs);
}

static const job_value *block_room(const job_input *job) {
    static const job_text NAMES[] = {
        {"reservation_id", 14}, {"room_type", 9}, {"check_in", 8}, {"check_out", 9}};
    job_value *request = request_of(job, NAMES, 4), *outputs = job_map();
    job_set(request, TEXT("room_id"), job_get(job->variables, TEXT("selected_room_id")));
    job_answer answer =
        ask(TEXT("POST"), TEXT("room"), TEXT("/api/room/block"), job->key, request);
    if (answer.status != 201 && answer.status != 409) return unusable(TEXT("room"), &answer);
    job_set(outputs, TEXT("room_blocked"), job_bool(answer.status == 201));
    if (answer.status == 409) { /* the last one went to somebody else since we looked */
        const job_value *message = job_get(answer.body, TEXT("error"));
        job_set(outputs, TEXT("status"), job_string(TEXT("rejected")));
        job_set(outputs, TEXT("error_message"), message);
        return job_bpmn_error(TEXT("TASK_ERROR"), job_text_of(message), outputs);
    }
    job_set(outputs, TEXT("room_id"), job_get(answer.body, TEXT("room_id")));
    return job_completed(outputs);
}

static const job_value *create_booking(const job_input *job) {
    static const job_text NAMES[] = {{"reservation_id", 14}, {"client_id", 9}, {"room_id", 7},
                                     {"check_in", 8},        {"check_out", 9}};
    job_answer answer = ask(TEXT("POST"), TEXT("booking"), TEXT("/api/booking/create"), job->key,
                            request_of(job, NAMES, 5));
    if (answer.status != 201) return unusable(TEXT("booking"), &answer);
    job_value *outputs = job_map();
    job_set(outputs, TEXT("booking_id"), job_get(answer.body, TEXT("booking_id")));
    job_set(outputs, TEXT("status"), job_get(answer.body, TEXT("status")));
    return job_completed(outputs);
}

const job_value *job_work(const job_input *job) {
    if (job_same(job->topic, TEXT("check-room-availability"))) return check_room_availability(job);
    if (job_same(job->topic, TEXT("block-room"))) return block_room(job);
    if (job_same(job->topic, TEXT("create-booking"))) return create_booking(job);
    return job_failed(JOIN(TEXT("hotel-booking does not work on "), job->topic, TEXT(".")));
}
