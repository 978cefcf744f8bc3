/* Up to 64 equal things, each used by one thread at a time. */
#ifndef GPUPOOL_RUNTIME_PLACES_H
#define GPUPOOL_RUNTIME_PLACES_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>

struct places {
    sem_t free;
    atomic_uint_fast64_t used; /* a bit each */
};

void places_init(struct places *places, unsigned count);
/* Take one, waiting until there is one; a number below `count`. */
unsigned places_take(struct places *places);
void places_give(struct places *places, unsigned place);

#endif
