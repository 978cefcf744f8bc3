/* Prints where the C compiler put each field, for the comparison with ledger.py. */
#include <stddef.h>
#include <stdio.h>

#include "worker/device_state.h"
#include "worker/ledger.h"

#define FIELD(type, name) printf(#type "." #name " %zu %zu\n", offsetof(struct type, name), sizeof(((struct type *)0)->name))

int main(void)
{
    printf("magic %u\nversion %u\nslots_max %u\n", LEDGER_MAGIC, LEDGER_VERSION, LEDGER_SLOTS_MAX);
    printf("sizes %zu %zu %zu\n", ledger_size(1), ledger_size(64), ledger_size(LEDGER_SLOTS_MAX));
    printf("parts %zu %zu %zu\n", sizeof(struct ledger_file), sizeof(struct ledger_slot),
           sizeof(struct ledger_time));
    FIELD(ledger_file, magic);
    FIELD(ledger_file, version);
    FIELD(ledger_file, slots);
    FIELD(ledger_file, lost);
    FIELD(ledger_file, memory_limit);
    FIELD(ledger_file, compute);
    FIELD(ledger_file, host_limit);
    FIELD(ledger_file, frozen);
    printf("device_state %u %u %zu\n", DEVICE_STATE_MAGIC, DEVICE_STATE_VERSION, sizeof(struct device_state));
    FIELD(device_state, frozen);
    FIELD(ledger_slot, memory);
    FIELD(ledger_slot, busy_ns);
    FIELD(ledger_slot, pid);
    FIELD(ledger_slot, host_memory);
    FIELD(ledger_slot, in_flight_ns);
    FIELD(ledger_slot, ended_ns);
    FIELD(ledger_time, debt_ns);
    FIELD(ledger_time, debt_at_ns);
    FIELD(ledger_time, busy);
    FIELD(timeline, until);
    FIELD(timeline, floor);
    FIELD(timeline, count);
    FIELD(timeline, gaps);
    return 0;
}
