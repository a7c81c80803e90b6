/* validate-input: the reservation is complete and makes sense, or TASK_ERROR. */
#include "job1.h"

#define NIGHTS_MAX 30
#define GUESTS_MAX 8

static const job_value *invalid(job_text message) {
    job_value *outputs = job_map();
    job_set(outputs, TEXT("valid"), job_bool(false));
    job_set(outputs, TEXT("status"), job_string(TEXT("invalid")));
    job_set(outputs, TEXT("error_message"), job_string(message));
    return job_bpmn_error(TEXT("TASK_ERROR"), message, outputs);
}

static bool blank(job_text text) {
    for (uint32_t i = 0; i < text.length; i++)
        if (text.at[i] != ' ') return false;
    return true;
}

/* Something before one @, and after it a name with a dot inside. Whether mail arrives is for the
 * mail system to say. */
static bool is_email(job_text text) {
    uint32_t at = 0, ats = 0, dot = 0;
    for (uint32_t i = 0; i < text.length; i++) {
        if ((unsigned char)text.at[i] <= ' ') return false;
        if (text.at[i] == '@') {
            at = i;
            ats++;
        } else if (text.at[i] == '.') {
            dot = i;
        }
    }
    return ats == 1 && at > 0 && dot > at && text.at[at + 1] != '.' && dot + 1 < text.length;
}

/* Days since 1970-01-01 of a date YYYY-MM-DD, or -1. */
static int32_t day_of(job_text date) {
    if (date.length != 10 || date.at[4] != '-' || date.at[7] != '-') return -1;
    int32_t parts[3] = {0};
    for (uint32_t i = 0; i < 10; i++) {
        if (i == 4 || i == 7) continue;
        if (date.at[i] < '0' || date.at[i] > '9') return -1;
        int32_t *part = &parts[i < 4 ? 0 : i < 7 ? 1 : 2];
        *part = *part * 10 + (date.at[i] - '0');
    }
    int32_t year = parts[0], month = parts[1], day = parts[2];
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    static const unsigned char LENGTHS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year < 1970 || month < 1 || month > 12 || day < 1) return -1;
    if (day > LENGTHS[month - 1] + (month == 2 && leap)) return -1;
    int32_t days = day - 1;
    for (int32_t before = 1; before < month; before++)
        days += LENGTHS[before - 1] + (before == 2 && leap);
    int32_t last = year - 1; /* whole years before this one */
    return days + (year - 1970) * 365 + (last / 4 - last / 100 + last / 400) - 477;
}

const job_value *job_work(const job_input *job) {
    static const job_text REQUIRED[] = {{"reservation_id", 14}, {"first_name", 10},
                                        {"last_name", 9},       {"email", 5},
                                        {"room_type", 9},       {"check_in", 8},
                                        {"check_out", 9}};
    for (uint32_t i = 0; i < sizeof(REQUIRED) / sizeof(*REQUIRED); i++)
        if (blank(job_text_of(job_get(job->variables, REQUIRED[i]))))
            return invalid(JOIN(REQUIRED[i], TEXT(" is missing")));

    job_text email = job_text_of(job_get(job->variables, TEXT("email")));
    if (!is_email(email)) return invalid(JOIN(TEXT("email is no address: "), email));

    int64_t guests = job_int_of(job_get(job->variables, TEXT("guests")), 0);
    if (guests < 1 || guests > GUESTS_MAX)
        return invalid(JOIN(TEXT("guests must be 1 to "), job_decimal(GUESTS_MAX)));

    job_text check_in = job_text_of(job_get(job->variables, TEXT("check_in")));
    job_text check_out = job_text_of(job_get(job->variables, TEXT("check_out")));
    int32_t first = day_of(check_in), last = day_of(check_out);
    if (first < 0) return invalid(JOIN(TEXT("check_in is no date: "), check_in));
    if (last < 0) return invalid(JOIN(TEXT("check_out is no date: "), check_out));
    if (last <= first) return invalid(TEXT("check_out must be after check_in"));
    if (last - first > NIGHTS_MAX)
        return invalid(JOIN(TEXT("a stay lasts at most "), job_decimal(NIGHTS_MAX),
                            TEXT(" nights")));

    job_value *outputs = job_map();
    job_set(outputs, TEXT("valid"), job_bool(true));
    job_set(outputs, TEXT("nights"), job_int(last - first));
    return job_completed(outputs);
}
