/*
 * Streams: ordered queues of work, each with a thread of its own from the first asynchronous work on.
 *
 * Work carries its dependencies: the places in other streams that must be done before it. They follow from events and
 * from the legacy default stream, which waits for and holds up every blocking stream of its context. A dependency is
 * always older than the work that has it, so there is no circle.
 */
#ifndef REFCUDA_STREAM_H
#define REFCUDA_STREAM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "cuda/cuda_abi.h"
#include "refcuda/object.h"

struct context;

/* A place in a stream: what was submitted up to `sequence`. */
struct place {
    struct stream *stream; /* counted; NULL: nowhere, and always done */
    uint64_t sequence;
};

/* The first member of everything a stream runs. */
struct work {
    CUresult (*run)(struct work *work);  /* on the stream's thread, or the caller's for stream_run */
    void (*dispose)(struct work *work); /* frees it, run or not; never under a lock */
    struct work *next;
    uint64_t sequence;
    struct place *waits; /* what it depends on */
    size_t wait_count;
};

struct stream {
    struct object object;
    struct context *context; /* valid while not `closed` */
    struct stream *next;     /* in the context */
    pthread_cond_t changed;
    struct work *first, **last;
    uint64_t submitted, completed;
    unsigned flags;
    int priority;
    bool threaded, closed;
    CUresult failure; /* of its first work that failed; every later wait tells it */
};

/* A new stream of the context, not published. NULL: no memory, or the context has ended. */
struct stream *stream_new(struct context *context, unsigned flags, int priority);

/* One lock for every queue: dependencies join them. Taken after a device's locks, before the object table's. */
extern pthread_mutex_t streams_lock;

#endif
