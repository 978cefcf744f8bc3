/* What a context is. */
#ifndef REFCUDA_CONTEXT_H
#define REFCUDA_CONTEXT_H

#include <pthread.h>
#include <stdatomic.h>

#include "refcuda/device.h"
#include "refcuda/object.h"

struct stream;

enum { LIMITS = 7 };

/* The most and the least urgent priority of a stream. */
enum { GREATEST_PRIORITY = -2, LEAST_PRIORITY = 0 };

struct context {
    struct object object;
    struct device *device;
    uint64_t id; /* never used again in this process */
    bool primary;
    unsigned flags;
    atomic_size_t limits[LIMITS];
    atomic_int cache_config, shared_config;
    atomic_uint_least64_t peers; /* bit n: access to device n is enabled */

    /* Under streams_lock. */
    struct stream *legacy;
    struct stream *streams;
    pthread_cond_t emptied;
};

#endif
