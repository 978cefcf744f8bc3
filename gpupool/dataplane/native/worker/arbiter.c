#include "worker/arbiter.h"

#include <stdlib.h>

#include "worker/clock.h"

enum {
    MILLISECOND = 1000 * 1000,
    SECOND = 1000 * MILLISECOND,
    /* Time lost to late wake-ups and round trips that may be made up for; it lets short kernels, each
     * of which loses some, reach their share, and is small against any second. */
    CREDIT = 10 * MILLISECOND,
    /* How long a wait may miss a change of the share. */
    LONGEST = 20 * MILLISECOND,
};

struct arbiter {
    struct ledger *ledger;
    const struct device_state *device;
};

/* compute percent of ns, without overflow */
static uint64_t share_of(uint64_t ns, uint64_t compute)
{
    return ns / 100 * compute + ns % 100 * compute / 100;
}

struct arbiter *arbiter_new(struct ledger *ledger, const struct device_state *device)
{
    struct arbiter *arbiter = malloc(sizeof *arbiter);
    uint64_t from, to;

    if (!arbiter)
        return NULL;
    *arbiter = (struct arbiter){ledger, device};
    while (ledger_abandoned(ledger, &from, &to))
        arbiter_charge(arbiter, from, to);
    return arbiter;
}

/* The debt after the share of the time that has passed was paid; at most `credit` can be made up for. */
static int64_t owed(const struct ledger_time *time, uint64_t now, uint64_t compute, uint64_t credit)
{
    /* The debt of another boot is none. */
    uint64_t passed = time->debt_at_ns < now ? now - time->debt_at_ns : 0;
    int64_t debt = time->debt_at_ns <= now ? time->debt_ns : 0, least = -(int64_t)share_of(credit, compute);

    if (__builtin_sub_overflow(debt, (int64_t)share_of(passed, compute), &debt) || debt < least)
        return least;
    return debt;
}

bool arbiter_frozen(const struct arbiter *arbiter)
{
    if (ledger_lost(arbiter->ledger))
        return false;
    return ledger_frozen(arbiter->ledger) || (arbiter->device && atomic_load(&arbiter->device->frozen));
}

uint64_t arbiter_closed_for(struct arbiter *arbiter)
{
    struct ledger *ledger = arbiter->ledger;
    uint64_t compute = ledger_compute(ledger), wait = 0;

    if (arbiter_frozen(arbiter))
        return LONGEST;
    if (compute == 100 || ledger_lost(ledger))
        return 0;
    struct ledger_time *time = ledger_lock_time(ledger);
    int64_t debt = owed(time, now_ns(), compute, CREDIT);
    ledger_unlock_time(ledger);
    /* A debt of d at a share of s is paid after d / s. */
    if (debt > 0)
        wait = (uint64_t)debt / compute * 100 + (uint64_t)debt % compute * 100 / compute + 1;
    return wait < LONGEST ? wait : LONGEST;
}

void arbiter_charge(struct arbiter *arbiter, uint64_t from_ns, uint64_t to_ns)
{
    struct ledger *ledger = arbiter->ledger;
    uint64_t compute = ledger_compute(ledger), now = now_ns();
    uint64_t to = to_ns < now ? to_ns : now, from = from_ns < to ? from_ns : to;
    struct ledger_time *time = ledger_lock_time(ledger);

    if (time->busy.until > now)
        time->busy = (struct timeline){.until = 0};
    uint64_t spent = timeline_cover(&time->busy, from, to);
    /* What passed while the work ran pays for it, too. */
    int64_t debt = owed(time, now, compute, CREDIT + (now - from));
    if (compute == 100 || __builtin_add_overflow(debt, (int64_t)spent, &time->debt_ns))
        time->debt_ns = debt;
    time->debt_at_ns = now;
    ledger_unlock_time(ledger);
    ledger_add_busy(ledger, spent);
}
