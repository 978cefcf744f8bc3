#include "worker/arbiter.h"

#include <stdlib.h>
#include <time.h>

enum {
    MILLISECOND = 1000 * 1000,
    SECOND = 1000 * MILLISECOND,
    /* Time lost to late wake-ups and round trips that may be made up for; it lets short kernels, each
     * of which loses some, reach their share, and is small against any second. */
    CREDIT = 10 * MILLISECOND,
    /* How long a wait may miss a change of the share. */
    NAP = 20 * MILLISECOND,
};

struct arbiter {
    struct ledger *ledger;
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static void nap(uint64_t nanoseconds)
{
    struct timespec time = {.tv_nsec = nanoseconds < NAP ? (long)nanoseconds : NAP};

    nanosleep(&time, NULL);
}

struct arbiter *arbiter_new(struct ledger *ledger)
{
    struct arbiter *arbiter = malloc(sizeof *arbiter);

    if (arbiter)
        arbiter->ledger = ledger;
    return arbiter;
}

void arbiter_admit(struct arbiter *arbiter)
{
    struct ledger *ledger = arbiter->ledger;

    while (ledger_compute(ledger) < 100 && !ledger_lost(ledger)) {
        uint64_t open_at = atomic_load(ledger_open_at(ledger));
        uint64_t now = now_ns();

        if (open_at <= now)
            return;
        nap(open_at - now);
    }
}

void arbiter_charge(struct arbiter *arbiter, uint64_t busy_ns)
{
    struct ledger *ledger = arbiter->ledger;
    _Atomic uint64_t *open_at = ledger_open_at(ledger);
    uint64_t compute = ledger_compute(ledger);
    uint64_t now = now_ns();
    uint64_t spent = busy_ns < now ? busy_ns : now;
    uint64_t earliest = now - spent > CREDIT ? now - spent - CREDIT : 0;
    uint64_t old = atomic_load(open_at);
    uint64_t new;

    ledger_add_busy(ledger, spent);
    if (compute == 100)
        return;
    /* Work of b at a share of s takes b / s: the gate opens that long after the work began. */
    do {
        new = (old > earliest ? old : earliest) + spent / compute * 100 + spent % compute * 100 / compute;
    } while (!atomic_compare_exchange_weak(open_at, &old, new));
}
