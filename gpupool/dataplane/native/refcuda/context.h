/* Contexts, and each thread's stack of them. */
#ifndef REFCUDA_CONTEXT_H
#define REFCUDA_CONTEXT_H

#include <pthread.h>

#include "refcuda/device.h"
#include "refcuda/object.h"
#include "refcuda/stream.h"

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

/* The calling thread's current context, counted; or why there is none. */
CUresult context_current(struct context **context);

/* The context of a handle, counted; or why there is none. */
CUresult context_acquire(CUcontext handle, struct context **context);

/* A new context, published. */
CUresult context_new(struct device *device, unsigned flags, bool primary, CUcontext *handle);

/* Ends its streams and frees all that is in it. INVALID_CONTEXT when the handle stands for none. */
CUresult context_end(CUcontext handle);

/* Why something of a context could not be made: the context ended meanwhile, or there is no memory. */
CUresult context_refusal(const struct context *context);

/* The calling thread's per-thread default stream in the context, counted. NULL: no memory. */
struct stream *context_thread_stream(struct context *context);

/* The calling thread's stack. */
bool context_push(CUcontext handle);
CUcontext context_top(void); /* NULL when empty */
CUcontext context_pop(void); /* NULL when empty */

#endif
