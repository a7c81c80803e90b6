/* The runtime of job1.h: the module's exports, the arena, JSON and msgpack.
 *
 * A job is read into one tree of values, whichever encoding it came in; the outcome goes out in
 * the same one, and so do requests to the host. A number with a fraction keeps its JSON text, so
 * a worker hands it on unchanged; only job_double_of and job_double convert.
 *
 * house: long because a worker takes the SDK along as one file.
 */
#include "job1.h"

#define DEPTH_MAX 64 /* ABI.md §2 */
#define MESSAGE_BYTES_MAX 1024 /* ABI.md §1: no sentence of the host is longer */
#define PAGE_BYTES 65536

#define EXPORT(name) __attribute__((export_name(name)))
#define IMPORT(name) __attribute__((import_module("job1"), import_name(name)))

IMPORT("log") void host_log(int32_t level, const char *at, uint32_t length);
IMPORT("now") int64_t host_now(void);
IMPORT("random") void host_random(void *at, uint32_t length);
IMPORT("call")
int32_t host_call(const char *op, uint32_t op_length, const char *in, uint32_t in_length);
IMPORT("take") int32_t host_take(char *at, uint32_t max);

/* ---- the arena ---- */

extern unsigned char __heap_base;

static uintptr_t arena_at;
static bool as_msgpack; /* the encoding of this job */

static const job_value absent = {.kind = JOB_NULL};

/* The next `bytes`, or 0 when memory cannot grow. Memory that the host grew is zero; memory of an
 * earlier job is not. */
static uintptr_t arena_take(uint32_t bytes) {
    uintptr_t at = (arena_at + 7) & ~(uintptr_t)7;
    uint64_t end = (uint64_t)at + bytes;
    uint64_t size = (uint64_t)__builtin_wasm_memory_size(0) * PAGE_BYTES;
    if (end > size) {
        uint64_t pages = (end - size + PAGE_BYTES - 1) / PAGE_BYTES;
        if (pages > PAGE_BYTES || __builtin_wasm_memory_grow(0, (uintptr_t)pages) == (uintptr_t)-1)
            return 0;
    }
    arena_at = (uintptr_t)end;
    return at;
}

static void *take(uint32_t bytes) {
    uintptr_t at = arena_take(bytes);
    if (!at) __builtin_trap();
    return (void *)at;
}

void *job_memory(uint32_t bytes) {
    return __builtin_memset(take(bytes), 0, bytes);
}

/* ---- texts ---- */

static bool same_bytes(const char *a, const char *b, uint32_t length) {
    for (uint32_t i = 0; i < length; i++)
        if (a[i] != b[i]) return false;
    return true;
}

bool job_same(job_text a, job_text b) {
    return a.length == b.length && same_bytes(a.at, b.at, a.length);
}

job_text job_join(const job_text *parts, uint32_t count) {
    uint64_t length = 0;
    for (uint32_t i = 0; i < count; i++) length += parts[i].length;
    if (length > UINT32_MAX) __builtin_trap();
    char *at = take((uint32_t)length), *end = at;
    for (uint32_t i = 0; i < count; i++) {
        __builtin_memcpy(end, parts[i].at, parts[i].length);
        end += parts[i].length;
    }
    return (job_text){at, (uint32_t)length};
}

job_text job_decimal(int64_t value) {
    char *end = (char *)take(20) + 20, *at = end;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (value < 0) *--at = '-';
    return (job_text){at, (uint32_t)(end - at)};
}

static const char HEX[] = "0123456789ABCDEF";

job_text job_url_encode(job_text text) {
    if (text.length > UINT32_MAX / 3) __builtin_trap();
    char *at = take(text.length * 3), *end = at;
    for (uint32_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.at[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '.' || c == '_' || c == '~'; /* RFC 3986 §2.3 */
        if (plain) {
            *end++ = (char)c;
        } else {
            *end++ = '%';
            *end++ = HEX[c >> 4];
            *end++ = HEX[c & 15];
        }
    }
    return (job_text){at, (uint32_t)(end - at)};
}

/* ---- values ---- */

static job_value *make(job_kind kind) {
    job_value *value = job_memory(sizeof(job_value));
    value->kind = kind;
    return value;
}

job_value *job_null(void) { return make(JOB_NULL); }
job_value *job_map(void) { return make(JOB_MAP); }
job_value *job_array(void) { return make(JOB_ARRAY); }

job_value *job_bool(bool value) {
    job_value *made = make(JOB_BOOL);
    made->integer = value;
    return made;
}

job_value *job_int(int64_t value) {
    job_value *made = make(JOB_INT);
    made->integer = value;
    return made;
}

job_value *job_double(double value) {
    job_value *made = make(JOB_DOUBLE);
    made->number = value;
    return made;
}

job_value *job_string(job_text text) {
    job_value *made = make(JOB_STRING);
    made->text = text;
    return made;
}

/* Links a value that belongs to nobody yet. */
static void link_member(job_value *container, job_value *member) {
    if (container->last)
        container->last->next = member;
    else
        container->first = member;
    container->last = member;
    container->count++;
}

void job_append(job_value *array, const job_value *value) {
    job_value *copy = take(sizeof(job_value));
    *copy = *value;
    copy->key = (job_text){0};
    copy->next = 0;
    link_member(array, copy);
}

void job_set(job_value *map, job_text key, const job_value *value) {
    job_append(map, value);
    map->last->key = key;
}

const job_value *job_first(const job_value *value) {
    return value->kind == JOB_ARRAY || value->kind == JOB_MAP ? value->first : 0;
}

const job_value *job_get(const job_value *map, job_text key) {
    if (map->kind != JOB_MAP) return &absent;
    for (const job_value *member = map->first; member; member = member->next)
        if (job_same(member->key, key)) return member;
    return &absent;
}

job_text job_text_of(const job_value *value) {
    return value->kind == JOB_STRING ? value->text : TEXT("");
}

bool job_true(const job_value *value) { return value->kind == JOB_BOOL && value->integer; }

int64_t job_int_of(const job_value *value, int64_t fallback) {
    return value->kind == JOB_INT ? value->integer : fallback;
}

/* ---- doubles ----
 *
 * Decimal to binary and back by a 128-bit mantissa that is multiplied or divided by ten, once per
 * decimal place: at most some 420 times, each off by less than 2^-124, so all is right that does
 * not lie about that close to the middle between two doubles. Subnormals are rounded twice. */

/* mantissa * 2^exponent. The mantissa has its lowest limb first, and its top bit is set. */
typedef struct {
    uint32_t limbs[4];
    int32_t exponent;
} wide;

static uint64_t top_64(const wide *number) {
    return (uint64_t)number->limbs[3] << 32 | number->limbs[2];
}

static wide widen(uint64_t value, int32_t exponent) {
    int32_t shift = __builtin_clzll(value);
    value <<= shift;
    return (wide){{0, 0, (uint32_t)value, (uint32_t)(value >> 32)}, exponent - shift - 64};
}

static void times_ten(wide *number) {
    uint64_t carry = 0;
    for (uint32_t i = 0; i < 4; i++) {
        carry += number->limbs[i] * 10ull;
        number->limbs[i] = (uint32_t)carry;
        carry >>= 32;
    }
    uint32_t shift = 32 - (uint32_t)__builtin_clz((uint32_t)carry); /* the carry is 5 to 9 */
    for (uint32_t i = 4; i--;) {
        carry = carry << 32 | number->limbs[i];
        number->limbs[i] = (uint32_t)(carry >> shift);
    }
    number->exponent += (int32_t)shift;
}

static void divide_by_ten(wide *number) {
    uint64_t rest = 0;
    for (uint32_t i = 4; i--;) {
        rest = rest << 32 | number->limbs[i];
        number->limbs[i] = (uint32_t)(rest / 10);
        rest %= 10;
    }
    uint32_t shift = (uint32_t)__builtin_clz(number->limbs[3]);
    for (uint32_t i = 3; i; i--)
        number->limbs[i] =
            number->limbs[i] << shift | (uint32_t)((uint64_t)number->limbs[i - 1] << shift >> 32);
    number->limbs[0] <<= shift;
    number->exponent -= (int32_t)shift;
}

static void times_power_of_ten(wide *number, int32_t power) {
    for (; power > 0; power--) times_ten(number);
    for (; power < 0; power++) divide_by_ten(number);
}

static double two_to_the(int32_t exponent) { /* -1022 ... 1023 */
    union { uint64_t bits; double value; } made = {(uint64_t)(exponent + 1023) << 52};
    return made.value;
}

static double narrow(const wide *number) {
    bool more = number->limbs[1] || number->limbs[0];
    double value = (double)(top_64(number) | more); /* rounds to 53 bits */
    int32_t exponent = number->exponent + 64;
    for (; exponent > 1000; exponent -= 1000) value *= two_to_the(1000);
    for (; exponent < -1000; exponent += 1000) value *= two_to_the(-1000);
    return value * two_to_the(exponent);
}

/* A JSON number that has been checked. Digits past the 19th only move the point. */
static double parse_double(job_text text) {
    uint64_t digits = 0;
    int32_t exponent = 0, written = 0;
    uint32_t i = text.at[0] == '-';
    bool fraction = false, below = false;
    for (; i < text.length && (text.at[i] | 32) != 'e'; i++) {
        if (text.at[i] == '.') {
            fraction = true;
        } else if (digits < UINT64_MAX / 10 - 1) {
            digits = digits * 10 + (uint64_t)(text.at[i] - '0');
            exponent -= fraction;
        } else {
            exponent += !fraction;
        }
    }
    for (i++; i < text.length; i++) {
        if (text.at[i] == '-')
            below = true;
        else if (text.at[i] != '+' && written < 100000)
            written = written * 10 + (text.at[i] - '0');
    }
    exponent += below ? -written : written;
    if (exponent > 400) exponent = 400; /* any digit makes it infinite */
    if (exponent < -400) digits = 0;
    double value = 0;
    if (digits) {
        wide number = widen(digits, 0);
        times_power_of_ten(&number, exponent);
        value = narrow(&number);
    }
    return text.at[0] == '-' ? -value : value;
}

double job_double_of(const job_value *value, double fallback) {
    if (value->kind == JOB_INT) return (double)value->integer;
    if (value->kind != JOB_DOUBLE) return fallback;
    return value->text.length ? parse_double(value->text) : value->number;
}

/* The fewest digits, from 14 or 15 on, that read back as the same double. */
static job_text format_double(double value) {
    if (!__builtin_isfinite(value)) return TEXT("null"); /* JSON has no other word for it */
    union { double value; uint64_t bits; } parts = {__builtin_fabs(value)};
    if (!parts.bits) return __builtin_signbit(value) ? TEXT("-0.0") : TEXT("0.0");
    uint64_t fraction = parts.bits & ((1ull << 52) - 1);
    int32_t power = (int32_t)(parts.bits >> 52), places = 0;
    wide number = power ? widen(fraction | 1ull << 52, power - 1075) : widen(fraction, -1074);
    for (; number.exponent > 49 - 128; places--) divide_by_ten(&number);
    for (; number.exponent < 46 - 128; places++) times_ten(&number); /* 2^45 < number < 2^50 */
    uint64_t digits;
    for (;; places++, times_ten(&number)) {
        uint32_t shift = (uint32_t)(-64 - number.exponent);
        digits = ((top_64(&number) >> (shift - 1)) + 1) >> 1;
        wide back = widen(digits, 0);
        times_power_of_ten(&back, -places);
        if (narrow(&back) == parts.value) break; /* 17 digits always do */
    }
    for (; digits % 10 == 0; digits /= 10) places--;
    return JOIN(value < 0 ? TEXT("-") : TEXT(""), job_decimal((int64_t)digits), TEXT("e"),
                job_decimal(-(int64_t)places));
}

/* ---- reading ---- */

typedef struct {
    const unsigned char *at, *end;
    bool broken;
} reader;

static job_value *refuse(reader *in) {
    in->broken = true;
    in->at = in->end;
    return make(JOB_NULL);
}

static void skip_space(reader *in) {
    while (in->at < in->end &&
           (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r'))
        in->at++;
}

static bool accept(reader *in, unsigned char wanted) {
    skip_space(in);
    if (in->at == in->end || *in->at != wanted) return false;
    in->at++;
    return true;
}

static uint32_t read_hex4(reader *in) {
    uint32_t code = 0;
    if (in->end - in->at < 4) return refuse(in), 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = *in->at++, letter = c | 32;
        if (c >= '0' && c <= '9')
            code = code << 4 | (uint32_t)(c - '0');
        else if (letter >= 'a' && letter <= 'f')
            code = code << 4 | (uint32_t)(letter - 'a' + 10);
        else
            return refuse(in), 0;
    }
    return code;
}

static char *put_utf8(char *end, uint32_t code) {
    if (code < 0x80) {
        *end++ = (char)code;
        return end;
    }
    uint32_t more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char FIRST[] = {0, 0xC0, 0xE0, 0xF0};
    *end++ = (char)(FIRST[more] | code >> (6 * more));
    while (more--) *end++ = (char)(0x80 | (code >> (6 * more) & 0x3F));
    return end;
}

/* After the opening quote. Without escapes the text stays where it is. */
static job_text read_string(reader *in) {
    const unsigned char *start = in->at;
    while (in->at < in->end && *in->at != '"' && *in->at != '\\' && *in->at >= 0x20) in->at++;
    if (in->at < in->end && *in->at == '"')
        return (job_text){(const char *)start, (uint32_t)(in->at++ - start)};
    const unsigned char *quote = in->at; /* no escape is shorter than what it stands for */
    while (quote < in->end && *quote != '"') quote += *quote == '\\' ? 2 : 1;
    if (quote >= in->end) return refuse(in), TEXT("");
    char *text = take((uint32_t)(quote - start)), *end = text + (in->at - start);
    __builtin_memcpy(text, start, (uint32_t)(in->at - start));
    while (*in->at != '"') {
        unsigned char c = *in->at++;
        if (c < 0x20) return refuse(in), TEXT("");
        if (c != '\\') {
            *end++ = (char)c;
            continue;
        }
        c = *in->at++;
        static const char NAMES[] = "\"\\/bfnrt", MEANT[] = "\"\\/\b\f\n\r\t";
        if (c == 'u') {
            uint32_t code = read_hex4(in);
            if (code >= 0xD800 && code < 0xDC00 && in->end - in->at >= 6 && in->at[0] == '\\' &&
                in->at[1] == 'u') {
                in->at += 2;
                uint32_t low = read_hex4(in);
                if (low < 0xDC00 || low > 0xDFFF) return refuse(in), TEXT("");
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            } else if (code >= 0xD800 && code <= 0xDFFF) {
                return refuse(in), TEXT(""); /* half a pair */
            }
            if (in->broken) return TEXT("");
            end = put_utf8(end, code);
            continue;
        }
        uint32_t i = 0;
        while (i < sizeof(NAMES) - 1 && NAMES[i] != (char)c) i++;
        if (i == sizeof(NAMES) - 1) return refuse(in), TEXT("");
        *end++ = MEANT[i];
    }
    in->at++;
    return (job_text){text, (uint32_t)(end - text)};
}

static bool digit_next(const reader *in) {
    return in->at < in->end && *in->at >= '0' && *in->at <= '9';
}

static bool skip_digits(reader *in) {
    if (!digit_next(in)) return false;
    while (digit_next(in)) in->at++;
    return true;
}

static job_value *read_number(reader *in) {
    const unsigned char *start = in->at;
    bool negative = *in->at == '-', whole = true;
    in->at += negative;
    const unsigned char *digits = in->at;
    if (!skip_digits(in) || (*digits == '0' && in->at - digits > 1)) return refuse(in);
    const unsigned char *digits_end = in->at;
    if (in->at < in->end && *in->at == '.') {
        whole = false;
        in->at++;
        if (!skip_digits(in)) return refuse(in);
    }
    if (in->at < in->end && (*in->at | 32) == 'e') {
        whole = false;
        in->at++;
        if (in->at < in->end && (*in->at == '+' || *in->at == '-')) in->at++;
        if (!skip_digits(in)) return refuse(in);
    }
    if (!whole) {
        job_value *made = make(JOB_DOUBLE);
        made->text = (job_text){(const char *)start, (uint32_t)(in->at - start)};
        return made;
    }
    uint64_t value = 0, limit = (uint64_t)INT64_MAX + negative;
    for (; digits < digits_end; digits++) {
        uint64_t digit = (uint64_t)(*digits - '0');
        if (value > (limit - digit) / 10) return refuse(in);
        value = value * 10 + digit;
    }
    return job_int((int64_t)(negative ? 0 - value : value));
}

static job_value *read_word(reader *in) {
    static const struct {
        job_text word;
        job_kind kind;
        int64_t value;
    } WORDS[] = {{{"null", 4}, JOB_NULL, 0}, {{"true", 4}, JOB_BOOL, 1}, {{"false", 5}, JOB_BOOL, 0}};
    for (uint32_t i = 0; i < 3; i++) {
        job_text word = WORDS[i].word;
        if ((uint32_t)(in->end - in->at) >= word.length &&
            same_bytes((const char *)in->at, word.at, word.length)) {
            in->at += word.length;
            job_value *made = make(WORDS[i].kind);
            made->integer = WORDS[i].value;
            return made;
        }
    }
    return refuse(in);
}

static job_value *read_json(reader *in, uint32_t depth) {
    skip_space(in);
    if (in->at == in->end) return refuse(in);
    unsigned char c = *in->at;
    if (c == '"') {
        in->at++;
        return job_string(read_string(in));
    }
    if (c == '-' || (c >= '0' && c <= '9')) return read_number(in);
    if (c != '{' && c != '[') return read_word(in);
    if (depth == DEPTH_MAX) return refuse(in);
    in->at++;
    unsigned char close = c == '{' ? '}' : ']';
    job_value *made = make(c == '{' ? JOB_MAP : JOB_ARRAY);
    if (accept(in, close)) return made;
    do {
        job_text key = {0};
        if (c == '{') {
            if (!accept(in, '"')) return refuse(in);
            key = read_string(in);
            if (!accept(in, ':')) return refuse(in);
        }
        job_value *member = read_json(in, depth + 1);
        member->key = key;
        link_member(made, member);
    } while (accept(in, ','));
    return accept(in, close) ? made : refuse(in);
}

static uint64_t read_big_endian(reader *in, uint32_t bytes) {
    uint64_t value = 0;
    if ((uint32_t)(in->end - in->at) < bytes) return refuse(in), 0;
    while (bytes--) value = value << 8 | *in->at++;
    return value;
}

static job_value *read_msgpack(reader *in, uint32_t depth);

static job_text read_msgpack_text(reader *in, uint32_t length) {
    if ((uint32_t)(in->end - in->at) < length) return refuse(in), TEXT("");
    job_text text = {(const char *)in->at, length};
    in->at += length;
    return text;
}

static job_value *read_msgpack_members(reader *in, job_kind kind, uint32_t count, uint32_t depth) {
    if (depth == DEPTH_MAX) return refuse(in);
    job_value *made = make(kind);
    for (; count && !in->broken; count--) {
        job_text key = {0};
        if (kind == JOB_MAP) {
            const job_value *name = read_msgpack(in, depth + 1);
            if (name->kind != JOB_STRING) return refuse(in);
            key = name->text;
        }
        job_value *member = read_msgpack(in, depth + 1);
        member->key = key;
        link_member(made, member);
    }
    return made;
}

/* The first byte says kind and width: the table in the msgpack specification, "Formats". */
static job_value *read_msgpack(reader *in, uint32_t depth) {
    if (in->at == in->end) return refuse(in);
    unsigned char c = *in->at++;
    if (c < 0x80) return job_int(c);
    if (c < 0x90) return read_msgpack_members(in, JOB_MAP, c & 15, depth);
    if (c < 0xA0) return read_msgpack_members(in, JOB_ARRAY, c & 15, depth);
    if (c < 0xC0) return job_string(read_msgpack_text(in, c & 31));
    if (c >= 0xE0) return job_int((int8_t)c);
    switch (c) {
        case 0xC0: return make(JOB_NULL);
        case 0xC2: case 0xC3: return job_bool(c & 1);
        case 0xCA: {
            union { uint32_t bits; float value; } narrow = {(uint32_t)read_big_endian(in, 4)};
            return job_double(narrow.value);
        }
        case 0xCB: {
            union { uint64_t bits; double value; } wide = {read_big_endian(in, 8)};
            return job_double(wide.value);
        }
        case 0xCC: case 0xCD: case 0xCE: case 0xCF: {
            uint64_t value = read_big_endian(in, 1u << (c - 0xCC));
            return value > INT64_MAX ? refuse(in) : job_int((int64_t)value);
        }
        case 0xD0: return job_int((int8_t)read_big_endian(in, 1));
        case 0xD1: return job_int((int16_t)read_big_endian(in, 2));
        case 0xD2: return job_int((int32_t)read_big_endian(in, 4));
        case 0xD3: return job_int((int64_t)read_big_endian(in, 8));
        case 0xD9: case 0xDA: case 0xDB:
            return job_string(read_msgpack_text(in, (uint32_t)read_big_endian(in, 1u << (c - 0xD9))));
        case 0xDC: case 0xDD:
            return read_msgpack_members(
                in, JOB_ARRAY, (uint32_t)read_big_endian(in, c == 0xDC ? 2 : 4), depth);
        case 0xDE: case 0xDF:
            return read_msgpack_members(
                in, JOB_MAP, (uint32_t)read_big_endian(in, c == 0xDE ? 2 : 4), depth);
        default: return refuse(in); /* bin and ext are not used */
    }
}

/* The whole of `text`, or JOB_NULL. */
static const job_value *read_all(job_text text, bool msgpack) {
    reader in = {(const unsigned char *)text.at, (const unsigned char *)text.at + text.length, 0};
    const job_value *value = msgpack ? read_msgpack(&in, 0) : read_json(&in, 0);
    if (!msgpack) skip_space(&in);
    return in.broken || in.at != in.end ? &absent : value;
}

const job_value *job_from_json(job_text text) { return read_all(text, false); }

/* ---- writing ---- */

typedef struct {
    char *at;
    uint32_t length, room;
} writer;

static void put(writer *out, job_text text) {
    if (text.length > out->room - out->length) {
        uint64_t room = 2 * (uint64_t)out->length + text.length + 256;
        if (room > UINT32_MAX) __builtin_trap();
        char *at = take((uint32_t)room);
        __builtin_memcpy(at, out->at, out->length);
        out->at = at;
        out->room = (uint32_t)room;
    }
    __builtin_memcpy(out->at + out->length, text.at, text.length);
    out->length += text.length;
}

static void put_byte(writer *out, unsigned char byte) { put(out, (job_text){(char *)&byte, 1}); }

static void write_json_text(writer *out, job_text text) {
    put_byte(out, '"');
    uint32_t from = 0;
    for (uint32_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        put(out, (job_text){text.at + from, i - from});
        from = i + 1;
        put_byte(out, '\\');
        if (c >= 0x20) {
            put_byte(out, c);
        } else {
            put(out, TEXT("u00"));
            put_byte(out, (unsigned char)HEX[c >> 4]);
            put_byte(out, (unsigned char)HEX[c & 15]);
        }
    }
    put(out, (job_text){text.at + from, text.length - from});
    put_byte(out, '"');
}

static void write_json(writer *out, const job_value *value) {
    switch (value->kind) {
        case JOB_NULL: put(out, TEXT("null")); return;
        case JOB_BOOL: put(out, value->integer ? TEXT("true") : TEXT("false")); return;
        case JOB_INT: put(out, job_decimal(value->integer)); return;
        case JOB_DOUBLE:
            put(out, value->text.length ? value->text : format_double(value->number));
            return;
        case JOB_STRING: write_json_text(out, value->text); return;
        case JOB_ARRAY: case JOB_MAP: break;
    }
    bool map = value->kind == JOB_MAP;
    put_byte(out, map ? '{' : '[');
    for (const job_value *member = value->first; member; member = member->next) {
        if (member != value->first) put_byte(out, ',');
        if (map) {
            write_json_text(out, member->key);
            put_byte(out, ':');
        }
        write_json(out, member);
    }
    put_byte(out, map ? '}' : ']');
}

static void put_big_endian(writer *out, unsigned char head, uint64_t value, uint32_t bytes) {
    put_byte(out, head);
    while (bytes--) put_byte(out, (unsigned char)(value >> (8 * bytes)));
}

/* Always the 32-bit forms: the input's limit keeps them short enough, and the code is, too. */
static void write_msgpack_text(writer *out, job_text text) {
    put_big_endian(out, 0xDB, text.length, 4);
    put(out, text);
}

static void write_msgpack(writer *out, const job_value *value) {
    switch (value->kind) {
        case JOB_NULL: put_byte(out, 0xC0); return;
        case JOB_BOOL: put_byte(out, value->integer ? 0xC3 : 0xC2); return;
        case JOB_INT: put_big_endian(out, 0xD3, (uint64_t)value->integer, 8); return;
        case JOB_DOUBLE: {
            union { double value; uint64_t bits; } wide = {job_double_of(value, 0)};
            put_big_endian(out, 0xCB, wide.bits, 8);
            return;
        }
        case JOB_STRING: write_msgpack_text(out, value->text); return;
        case JOB_ARRAY: case JOB_MAP: break;
    }
    bool map = value->kind == JOB_MAP;
    put_big_endian(out, map ? 0xDF : 0xDD, value->count, 4);
    for (const job_value *member = value->first; member; member = member->next) {
        if (map) write_msgpack_text(out, member->key);
        write_msgpack(out, member);
    }
}

static job_text write_all(const job_value *value, bool msgpack) {
    writer out = {0};
    if (msgpack)
        write_msgpack(&out, value);
    else
        write_json(&out, value);
    return (job_text){out.at, out.length};
}

job_text job_to_json(const job_value *value) { return write_all(value, false); }

/* ---- outcomes ---- */

static job_value *outcome(job_text name, const job_value *fields) {
    job_value *made = job_map();
    job_set(made, name, fields);
    return made;
}

job_value *job_completed(const job_value *variables) {
    job_value *fields = job_map();
    job_set(fields, TEXT("variables"), variables);
    return outcome(TEXT("completed"), fields);
}

job_value *job_bpmn_error(job_text code, job_text message, const job_value *variables) {
    job_value *fields = job_map();
    job_set(fields, TEXT("code"), job_string(code));
    job_set(fields, TEXT("message"), job_string(message));
    job_set(fields, TEXT("variables"), variables);
    return outcome(TEXT("bpmn_error"), fields);
}

job_value *job_failed(job_text message) {
    job_value *fields = job_map();
    job_set(fields, TEXT("message"), job_string(message));
    return outcome(TEXT("failed"), fields);
}

job_value *job_with(job_value *made, job_text field, const job_value *value) {
    job_set(made->last, field, value);
    return made;
}

/* ---- the host ---- */

void job_log(int32_t level, job_text line) { host_log(level, line.at, line.length); }
int64_t job_now_ms(void) { return host_now(); }
void job_random(void *bytes, uint32_t length) { host_random(bytes, length); }

job_reply job_call(job_text operation, const job_value *request) {
    job_text in = write_all(request, as_msgpack);
    int32_t length = host_call(operation.at, operation.length, in.at, in.length);
    if (length < 0) {
        char *message = take(MESSAGE_BYTES_MAX);
        uint32_t taken = (uint32_t)host_take(message, MESSAGE_BYTES_MAX);
        return (job_reply){length < JOB_HOST ? JOB_HOST : length, {message, taken}, &absent};
    }
    char *reply = take((uint32_t)length);
    uint32_t taken = (uint32_t)host_take(reply, (uint32_t)length);
    return (job_reply){JOB_OK, TEXT(""), read_all((job_text){reply, taken}, as_msgpack)};
}

static job_text named(job_text operation, job_text name) {
    job_value *request = job_map();
    job_set(request, TEXT("name"), job_string(name));
    return job_text_of(job_get(job_call(operation, request).reply, TEXT("value")));
}

job_text job_config(job_text name) { return named(TEXT("config.get"), name); }
job_text job_secret(job_text name) { return named(TEXT("secrets.get"), name); }

static job_entry kv(job_text operation, job_text done, job_text key, const job_value *value,
                    int64_t if_version) {
    job_value *request = job_map();
    job_set(request, TEXT("key"), job_string(key));
    if (value) job_set(request, TEXT("value"), value);
    if (if_version != JOB_ANY_VERSION) job_set(request, TEXT("if_version"), job_int(if_version));
    job_reply reply = job_call(operation, request);
    return (job_entry){reply.code, reply.message, job_true(job_get(reply.reply, done)),
                       job_int_of(job_get(reply.reply, TEXT("version")), 0),
                       job_get(reply.reply, TEXT("value"))};
}

job_entry job_kv_get(job_text key) {
    return kv(TEXT("kv.get"), TEXT(""), key, NULL, JOB_ANY_VERSION);
}

job_entry job_kv_put(job_text key, const job_value *value, int64_t if_version) {
    return kv(TEXT("kv.put"), TEXT("stored"), key, value, if_version);
}

job_entry job_kv_delete(job_text key, int64_t if_version) {
    return kv(TEXT("kv.delete"), TEXT("deleted"), key, NULL, if_version);
}

job_reply job_kv_list(job_text prefix, job_text after) {
    job_value *request = job_map();
    job_set(request, TEXT("prefix"), job_string(prefix));
    job_set(request, TEXT("after"), job_string(after));
    return job_call(TEXT("kv.list"), request);
}

job_answer job_fetch(job_text method, job_text url, job_text idempotency_key,
                     const job_value *body) {
    job_value *request = job_map(), *headers = job_map();
    job_set(request, TEXT("method"), job_string(method));
    job_set(request, TEXT("url"), job_string(url));
    if (idempotency_key.length)
        job_set(headers, TEXT("idempotency-key"), job_string(idempotency_key));
    if (body) {
        job_set(headers, TEXT("content-type"), job_string(TEXT("application/json")));
        job_set(request, TEXT("body"), job_string(job_to_json(body)));
    }
    job_set(request, TEXT("headers"), headers);
    job_reply reply = job_call(TEXT("http.fetch"), request);
    return (job_answer){
        reply.code, reply.message, (int32_t)job_int_of(job_get(reply.reply, TEXT("status")), 0),
        job_from_json(job_text_of(job_get(reply.reply, TEXT("body"))))};
}

job_rpc job_grpc(job_text method, const job_value *request) {
    job_value *asked = job_map();
    job_set(asked, TEXT("method"), job_string(method));
    if (request) job_set(asked, TEXT("request"), request);
    job_reply reply = job_call(TEXT("grpc.call"), asked);
    const job_value *one = job_get(reply.reply, TEXT("response"));
    const job_value *many = job_get(reply.reply, TEXT("responses"));
    return (job_rpc){
        reply.code,
        reply.code ? reply.message : job_text_of(job_get(reply.reply, TEXT("message"))),
        job_text_of(job_get(reply.reply, TEXT("status"))), many->kind == JOB_ARRAY ? many : one};
}

job_called job_call_service(job_text service, const job_value *variables) {
    job_value *asked = job_map();
    job_set(asked, TEXT("service"), job_string(service));
    if (variables) job_set(asked, TEXT("variables"), variables);
    job_reply reply = job_call(TEXT("service.call"), asked);
    const job_value *completed = job_get(reply.reply, TEXT("completed"));
    const job_value *error = job_get(reply.reply, TEXT("bpmn_error"));
    const job_value *failed = job_get(reply.reply, TEXT("failed"));
    const job_value *ended = completed->kind == JOB_MAP ? completed
                             : error->kind == JOB_MAP   ? error
                                                        : failed;
    return (job_called){reply.code,
                        reply.code ? reply.message : job_text_of(job_get(ended, TEXT("message"))),
                        completed->kind == JOB_MAP,
                        job_text_of(job_get(error, TEXT("code"))),
                        job_get(ended, TEXT("variables")),
                        reply.reply};
}

void job_progress(double done, job_text sentence) {
    job_value *told = job_map();
    job_set(told, TEXT("done"), job_double(done));
    job_set(told, TEXT("sentence"), job_string(sentence));
    job_call(TEXT("job.progress"), told);
}

/* ---- the module's exports ---- */

EXPORT("job_abi") int32_t job_abi(void) { return 1 << 16; }

EXPORT("alloc") uintptr_t job_alloc(uint32_t length) {
    arena_at = (uintptr_t)&__heap_base;
    return arena_take(length);
}

EXPORT("handle") uint64_t job_handle(const char *at, uint32_t length) {
    as_msgpack = length && *at != '{';
    const job_value *input = read_all((job_text){at, length}, as_msgpack);
    const job_value *info = job_get(input, TEXT("job"));
    const job_input job = {
        job_text_of(job_get(info, TEXT("key"))), job_text_of(job_get(info, TEXT("topic"))), info,
        job_get(input, TEXT("variables")), job_get(input, TEXT("types"))};
    const job_value *result = info->kind == JOB_MAP
                                  ? job_work(&job)
                                  : job_failed(TEXT("The worker could not read its input."));
    job_text out = write_all(result, as_msgpack);
    return (uint64_t)(uintptr_t)out.at << 32 | out.length;
}
