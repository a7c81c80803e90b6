/* One worker in two ABIs, so that hosts are compared and not guests: it completes with what it got,
 * {"completed": <the whole input>}. With -DEXTISM it is an Extism plug-in, which reads and writes
 * through its host's functions as Extism's PDKs do, 8 bytes at a time; else a job1 module. With
 * -DROUNDS=n it computes for a while first. */
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))

static const char head[] = "{\"completed\":";
enum { HEAD = sizeof head - 1, INPUT_MAX = 8192 };

static union {
    char bytes[HEAD + 3 + INPUT_MAX + 8];
    uint64_t words[1];
} answer;
static char *const input = answer.bytes + HEAD + 3; /* HEAD + 3 is 16: words stay aligned */

#ifdef ROUNDS
static volatile uint32_t sink;
static void compute(void) {
    for (uint32_t i = 0; i < ROUNDS; i++) sink += i;
}
#else
static void compute(void) {}
#endif

/* Where the answer begins, around the input of that length. */
static char *answered(uint32_t length) {
    compute();
    char *begin = input - HEAD;
    for (int i = 0; i < HEAD; i++) begin[i] = head[i];
    input[length] = '}';
    return begin;
}

#ifdef EXTISM

#define IMPORT(name) __attribute__((import_module("extism:host/env"), import_name(#name))) extern
IMPORT(input_length) uint64_t input_length(void);
IMPORT(input_load_u8) uint32_t input_load_u8(uint64_t at);
IMPORT(input_load_u64) uint64_t input_load_u64(uint64_t at);
IMPORT(alloc) uint64_t host_alloc(uint64_t length);
IMPORT(store_u8) void store_u8(uint64_t at, uint32_t byte);
IMPORT(store_u64) void store_u64(uint64_t at, uint64_t word);
IMPORT(output_set) void output_set(uint64_t at, uint64_t length);

EXPORT("handle") int32_t handle(void) {
    uint64_t length = input_length(), at = 0;
    if (length > INPUT_MAX) return 1;
    for (; at + 8 <= length; at += 8) *(uint64_t *)(input + at) = input_load_u64(at);
    for (; at < length; at++) input[at] = (char)input_load_u8(at);
    const char *begin = answered((uint32_t)length);
    uint64_t size = HEAD + length + 1, output = host_alloc(size);
    for (at = 0; at + 8 <= size; at += 8) {
        uint64_t word;
        __builtin_memcpy(&word, begin + at, 8);
        store_u64(output + at, word);
    }
    for (; at < size; at++) store_u8(output + at, (uint8_t)begin[at]);
    output_set(output, size);
    return 0;
}

#else

EXPORT("job_abi") int32_t job_abi(void) { return 1 << 16; }

EXPORT("alloc") void *alloc(uint32_t length) { return length <= INPUT_MAX ? input : 0; }

EXPORT("handle") int64_t handle(void *at, uint32_t length) {
    (void)at;
    char *begin = answered(length);
    return (int64_t)(uintptr_t)begin << 32 | (HEAD + length + 1);
}

#endif
