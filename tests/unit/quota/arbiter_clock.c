/* The arbiter on a simulated clock (the linker puts ours in place of libc's), so that its share is
 * exact to compute: PATH KERNEL_NS BATCH [START_NS ROUNDS]. Prints busy time, wall time, and the longest wait.
 * A wait ends 80 us late and a batch costs 20 us besides its kernels, as on a real machine. */
#include <fcntl.h>
#include <inttypes.h>
#include <time.h>

#include "check.h"
#include "worker/arbiter.h"

enum { LATE = 80 * 1000, OVERHEAD = 20 * 1000 };

static uint64_t start = 5ull * 1000 * 1000 * 1000;
static uint64_t now;

int __wrap_clock_gettime(clockid_t clock, struct timespec *time);

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
    CHECK(clock == CLOCK_MONOTONIC);
    time->tv_sec = (time_t)(now / 1000000000);
    time->tv_nsec = (long)(now % 1000000000);
    return 0;
}

static void admit(struct arbiter *arbiter)
{
    uint64_t wait;

    while ((wait = arbiter_closed_for(arbiter)))
        now += wait + LATE;
}

int main(int count, char **arguments)
{
    uint64_t kernel_ns, busy = 0, longest = 0, shortest = 2000000000;
    int rounds = 20;
    struct arbiter *arbiter;
    int batch;

    CHECK(count == 4 || count == 6);
    kernel_ns = strtoull(arguments[2], NULL, 10);
    batch = atoi(arguments[3]);
    if (count == 6) {
        start = strtoull(arguments[4], NULL, 10);
        rounds = atoi(arguments[5]);
        shortest = 0;
    }
    now = start;
    arbiter = arbiter_new(ledger_open(open(arguments[1], O_RDWR), 0), NULL);
    CHECK(arbiter);
    for (int round = 0; round < rounds || now < start + shortest; round++) {
        uint64_t asked = now;

        admit(arbiter);
        longest = now - asked > longest ? now - asked : longest;
        now += OVERHEAD;
        for (int i = 0; i < batch; i++) {
            now += kernel_ns;
            busy += kernel_ns;
            arbiter_charge(arbiter, now - kernel_ns, now);
        }
    }
    if (count == 4)
        admit(arbiter);
    printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", busy, now - start, longest);
    return 0;
}
