/* The session that a worker serves. */
#ifndef GPUPOOL_WORKER_SESSION_H
#define GPUPOOL_WORKER_SESSION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/control.h"
#include "wire/handle_table.h"
#include "wire/ranges.h"
#include "wire/ring.h"
#include "worker/api.h"
#include "worker/arbiter.h"
#include "worker/ledger.h"

struct span;
struct spans;
struct staging;
struct turns;
struct waiters;

/* A stream or an event. A thread that waits for one holds a reference, so that the client's destroying
 * it meanwhile does no harm. */
struct object {
    atomic_uint references;
    enum handle_kind kind;
    struct stream *stream;
    struct event *event;
    struct span *span; /* the stream's open span, see span.h */
};

struct session {
    uint64_t granule; /* bytes in which the device backs allocations, see granule.h */
    const char *id;
    int connection;
    pthread_mutex_t control_lock; /* the channel, and what the agent waits for */
    struct control control;
    struct control_message freeze; /* to be answered when the device has no work; its kind is 0: there is none */
    atomic_bool freezing; /* there is one */
    atomic_bool ended;
    struct ring ring;
    const struct api *api;
    const struct backend *backend; /* the API's */
    struct device *device;
    struct ledger *ledger;
    const struct device_state *device_state; /* NULL: it is not told */
    struct arbiter *arbiter;
    struct handle_table handles;
    atomic_uint streams;
    struct ranges memory; /* allocations (owner 0) and module globals (owner: the module) */
    struct object default_stream;
    struct stream *clearing; /* where new memory is cleared; NULL: it is not */
    struct staging *staging;
    struct spans *spans;
    struct turns *turns;
    struct waiters *waiters;
    enum result deferred; /* the first error of a one-way call that no answer has carried yet */
};

/* Bytes of the record behind the request struct. */
static inline uint32_t payload_bytes(const struct record *record, uint32_t request)
{
    return record->bytes - (uint32_t)sizeof *record - request;
}

#endif
