/* Writes a seccomp filter, one system call after another. */
#ifndef GPUPOOL_FILTER_H
#define GPUPOOL_FILTER_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>

enum { FILTER_MAX = 1024 };

struct filter {
    struct sock_filter code[FILTER_MAX];
    unsigned short length;
};

/* In place of an action: a later rule decides. No action of seccomp has this value. */
#define FILTER_NEXT 1u

/* How the low word of an argument is compared: arguments that are int or unsigned have no more. */
enum filter_test {
    FILTER_IS,     /* equal to one of the values */
    FILTER_IS_NOT, /* not equal to the value */
    FILTER_WITHIN, /* no bit is set that the value has not */
    FILTER_HAS,    /* a bit is set that the value has */
};

struct filter_values {
    const uint32_t *value;
    uint8_t count;
};

/* Kill the process for calls of another architecture's table, then load the call's number. */
void filter_begin(struct filter *filter);

/* Do `action` for each of the calls. */
void filter_calls(struct filter *filter, const uint32_t *calls, size_t count, uint32_t action);

/* For one call: do `matching` if argument number `argument` compares so, else `other`, which may be FILTER_NEXT.
 * All tests but FILTER_IS take one value. */
void filter_argument(struct filter *filter, uint32_t call, unsigned argument, enum filter_test test,
                     struct filter_values values, uint32_t matching, uint32_t other);

/* Do `action` for every call that no earlier rule decided on. */
void filter_end(struct filter *filter, uint32_t action);

#endif
