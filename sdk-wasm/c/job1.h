/* Gossamer workers in C, for the ABI job1.
 *
 * Write one function, job_work, and compile it with job1.c; there is no libc and nothing else to
 * link. Everything that this header hands out lives in one arena until the next job, so nothing
 * is freed, and no function wants a check for NULL: what is absent is a value of kind JOB_NULL, an
 * empty text, 0 or false. Running out of memory traps, and the host reports the job as failed.
 */
#ifndef JOB1_H
#define JOB1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* UTF-8 with a length; not ended by a zero. */
typedef struct {
    const char *at;
    uint32_t length;
} job_text;

/* A text from a string literal. */
#define TEXT(literal) ((job_text){"" literal, sizeof(literal) - 1})

typedef enum { JOB_NULL, JOB_BOOL, JOB_INT, JOB_DOUBLE, JOB_STRING, JOB_ARRAY, JOB_MAP } job_kind;

/* One JSON value. Read it by the functions below; the members of an array or a map:
 *     for (const job_value *item = job_first(list); item; item = item->next) ...  // item->key */
typedef struct job_value {
    job_kind kind;
    uint32_t count;  /* members of an array or a map */
    job_text text;   /* JOB_STRING; or a JOB_DOUBLE as it was written in JSON */
    union {
        int64_t integer;
        double number;
        const struct job_value *first;
    };
    struct job_value *last;
    job_text key;
    struct job_value *next;
} job_value;

/* The job, as ABI.md §3 describes the input. */
typedef struct {
    job_text key;   /* the same for every try: the idempotency key of all that the worker does */
    job_text topic;
    const job_value *info;      /* the whole map `job`: retries, deadline_ms, headers, ... */
    const job_value *variables; /* plain values by name */
    const job_value *types;     /* types of those that need one, such as Long */
} job_input;

/* What you write. Returns one of the outcomes below. */
const job_value *job_work(const job_input *job);

/* Outcomes. job_with adds an optional field: `types` to the first two; `retries`, `backoff_ms` or
 * `details` to a failure. */
job_value *job_completed(const job_value *variables);
job_value *job_bpmn_error(job_text code, job_text message, const job_value *variables);
job_value *job_failed(job_text message);
job_value *job_with(job_value *outcome, job_text field, const job_value *value);

/* Reading. Each takes any value, and answers the fallback when it is of another kind. */
const job_value *job_get(const job_value *map, job_text key); /* JOB_NULL when absent */
const job_value *job_first(const job_value *container);       /* NULL when it has no members */
job_text job_text_of(const job_value *value);                 /* "" */
bool job_true(const job_value *value);                        /* false */
int64_t job_int_of(const job_value *value, int64_t fallback);
double job_double_of(const job_value *value, double fallback); /* takes integers, too */

/* Making. A value that is put into a map or an array is copied there; its members are shared, so
 * finish them first. */
job_value *job_null(void);
job_value *job_bool(bool value);
job_value *job_int(int64_t value);
job_value *job_double(double value); /* must be finite */
job_value *job_string(job_text text);
job_value *job_map(void);
job_value *job_array(void);
void job_set(job_value *map, job_text key, const job_value *value); /* a key once */
void job_append(job_value *array, const job_value *value);

/* Texts. */
bool job_same(job_text a, job_text b);
job_text job_join(const job_text *parts, uint32_t count);
#define JOIN(...) \
    job_join((const job_text[]){__VA_ARGS__}, sizeof((job_text[]){__VA_ARGS__}) / sizeof(job_text))
job_text job_decimal(int64_t value);
job_text job_url_encode(job_text text); /* for a path segment or a query's value */
job_text job_to_json(const job_value *value);
const job_value *job_from_json(job_text text); /* JOB_NULL when it is no JSON */

/* The host (ABI.md §1 and §4). */
enum {
    JOB_OK = 0,
    JOB_UNKNOWN = -1,
    JOB_DENIED = -2,
    JOB_BAD_REQUEST = -3,
    JOB_DEADLINE = -4,
    JOB_UNAVAILABLE = -5,
    JOB_TOO_LARGE = -6,
    JOB_HOST = -7
};

enum { JOB_DEBUG, JOB_INFO, JOB_WARNING, JOB_ERROR };

typedef struct {
    int32_t code;           /* JOB_OK, or why not */
    job_text message;       /* a sentence for a person, when not */
    const job_value *reply; /* a map, when JOB_OK */
} job_reply;

typedef struct {
    int32_t code;          /* JOB_OK when the server answered, whatever its status */
    job_text message;      /* a sentence for a person, when not */
    int32_t status;        /* the HTTP status, 0 without an answer */
    const job_value *body; /* the answer's JSON; JOB_NULL when it is none */
} job_answer;

void job_log(int32_t level, job_text line);
int64_t job_now_ms(void);
void job_random(void *bytes, uint32_t length);
job_reply job_call(job_text operation, const job_value *request);

/* config.get: what this node's configuration says, or an empty text. */
job_text job_config(job_text name);

/* secrets.get: a password or token that the node grants, or an empty text. What the host logs of
 * this worker has it blacked out; do not let it into variables. */
job_text job_secret(job_text name);

/* kv: what this service keeps on this node, from job to job. What a write answers is on the disk.
 * JOB_ANY_VERSION writes whatever is there; any other version only while the key still has it, 0
 * only while there is no such key. So parallel jobs lose nothing: get, change, put with the version
 * that came with it, and begin again when it is not `done`. */
enum { JOB_ANY_VERSION = -1 };

typedef struct {
    int32_t code;           /* JOB_OK, or why not */
    job_text message;       /* a sentence for a person, when not */
    bool done;              /* put and delete: whether it was */
    int64_t version;        /* that the key has now, 0 when there is no such key */
    const job_value *value; /* get: JOB_NULL when there is none */
} job_entry;

job_entry job_kv_get(job_text key);
job_entry job_kv_put(job_text key, const job_value *value, int64_t if_version);
job_entry job_kv_delete(job_text key, int64_t if_version);

/* Up to 100 keys that begin so and come after another one: `keys`, an array, and `more`. */
job_reply job_kv_list(job_text prefix, job_text after);

/* http.fetch with JSON both ways. `idempotency_key` and `body` may be empty and NULL. */
job_answer job_fetch(job_text method, job_text url, job_text idempotency_key,
                     const job_value *body);

typedef struct {
    int32_t code;          /* JOB_OK when the server gave a status, whichever */
    job_text message;      /* a sentence, the server's or the host's, unless all went well */
    job_text status;       /* gRPC's name: "OK", "NOT_FOUND", ...; empty without one */
    const job_value *body; /* the answer: a map, or an array of them from a stream */
} job_rpc;

/* grpc.call of "package.Service/Method"; `request` may be NULL. */
job_rpc job_grpc(job_text method, const job_value *request);

typedef struct {
    int32_t code;               /* JOB_OK when there is an outcome, whichever */
    job_text message;           /* a sentence, the outcome's or the host's, unless it completed */
    bool completed;
    job_text error;             /* the code of its BPMN error, or empty */
    const job_value *variables; /* its outputs */
    const job_value *outcome;   /* all of it: return it to end as the called service did */
} job_called;

/* service.call: another service's outcome, wherever in the mesh it runs; `variables` may be NULL. */
job_called job_call_service(job_text service, const job_value *variables);

/* job.progress: how far this job is, 0 to 1, and what it does now, for people who look on. */
void job_progress(double done, job_text sentence);

/* Memory of this job, zeroed, aligned to 8. */
void *job_memory(uint32_t bytes);

#endif
