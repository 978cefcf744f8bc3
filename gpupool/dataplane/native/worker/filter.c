#include "worker/filter.h"

#include <linux/audit.h>
#include <stdlib.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "the sandbox knows x86_64 and aarch64"
#endif

#define X32_BIT 0x40000000u

static void add(struct filter *filter, struct sock_filter instruction)
{
    if (filter->length == FILTER_MAX)
        abort(); /* the rules are constants: a filter too long is a bug that every start shows */
    filter->code[filter->length++] = instruction;
}

static void load(struct filter *filter, size_t offset)
{
    add(filter, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void finish(struct filter *filter, uint32_t action)
{
    add(filter, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* Compare the loaded word with `value`; skip as many instructions as the outcome says. */
static void compare(struct filter *filter, uint16_t comparison, uint32_t value, uint8_t if_true, uint8_t if_false)
{
    add(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | comparison | BPF_K, value, if_true, if_false));
}

void filter_begin(struct filter *filter)
{
    filter->length = 0;
    load(filter, offsetof(struct seccomp_data, arch));
    compare(filter, BPF_JEQ, ARCH, 1, 0);
    finish(filter, SECCOMP_RET_KILL_PROCESS);
    load(filter, offsetof(struct seccomp_data, nr));
#if defined(__x86_64__)
    compare(filter, BPF_JGE, X32_BIT, 0, 1);
    finish(filter, SECCOMP_RET_KILL_PROCESS);
#endif
}

void filter_calls(struct filter *filter, const uint32_t *calls, size_t count, uint32_t action)
{
    for (size_t i = 0; i < count; i++) {
        compare(filter, BPF_JEQ, calls[i], 0, 1);
        finish(filter, action);
    }
}

void filter_argument(struct filter *filter, uint32_t call, unsigned argument, enum filter_test test,
                     struct filter_values values, uint32_t matching, uint32_t other)
{
    compare(filter, BPF_JEQ, call, 0, (uint8_t)(2 + 2 * values.count));
    load(filter, offsetof(struct seccomp_data, args) + argument * sizeof(uint64_t));
    for (uint8_t i = 0; i < values.count; i++) {
        if (test == FILTER_IS)
            compare(filter, BPF_JEQ, values.value[i], 0, 1);
        else if (test == FILTER_IS_NOT)
            compare(filter, BPF_JEQ, values.value[i], 1, 0);
        else if (test == FILTER_HAS)
            compare(filter, BPF_JSET, values.value[i], 0, 1);
        else
            compare(filter, BPF_JSET, ~values.value[i], 1, 0);
        finish(filter, matching);
    }
    if (other == FILTER_NEXT)
        load(filter, offsetof(struct seccomp_data, nr));
    else
        finish(filter, other);
}

void filter_end(struct filter *filter, uint32_t action)
{
    finish(filter, action);
}
