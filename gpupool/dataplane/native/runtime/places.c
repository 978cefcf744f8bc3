#include "runtime/places.h"

void places_init(struct places *places, unsigned count)
{
    sem_init(&places->free, 0, count);
}

unsigned places_take(struct places *places)
{
    while (sem_wait(&places->free) != 0)
        continue;
    uint_fast64_t used = atomic_load(&places->used);
    for (;;) {
        unsigned place = (unsigned)__builtin_ctzll(~used);
        if (atomic_compare_exchange_weak(&places->used, &used, used | 1ull << place))
            return place;
    }
}

void places_give(struct places *places, unsigned place)
{
    atomic_fetch_and(&places->used, ~(1ull << place));
    sem_post(&places->free);
}
