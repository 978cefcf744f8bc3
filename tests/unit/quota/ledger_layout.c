/* Prints where the C compiler put each field, for the comparison with ledger.py. */
#include <stddef.h>
#include <stdio.h>

#include "worker/ledger.h"

#define FIELD(type, name) printf(#type "." #name " %zu %zu\n", offsetof(struct type, name), sizeof(((struct type *)0)->name))

int main(void)
{
    printf("magic %u\nversion %u\nslots %u\nsize %zu\n", LEDGER_MAGIC, LEDGER_VERSION, LEDGER_SLOTS,
           sizeof(struct ledger_file));
    FIELD(ledger_file, magic);
    FIELD(ledger_file, version);
    FIELD(ledger_file, slots);
    FIELD(ledger_file, lost);
    FIELD(ledger_file, memory_limit);
    FIELD(ledger_file, compute);
    FIELD(ledger_file, slot);
    FIELD(ledger_file, time);
    FIELD(ledger_slot, memory);
    FIELD(ledger_slot, busy_ns);
    FIELD(ledger_slot, pid);
    return 0;
}
