/* The session a worker serves, and what serving functions share. */
#ifndef GPUPOOL_WORKER_SESSION_H
#define GPUPOOL_WORKER_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "gpupool_messages.h"
#include "wire/handle_table.h"
#include "wire/ranges.h"
#include "wire/ring.h"
#include "worker/arbiter.h"
#include "worker/ledger.h"
#include "worker/reply.h"
#include "worker_driver.h"

struct span;
struct spans;
struct staging;
struct waiters;

/* A stream or an event. A thread that waits for one holds a reference, so that the client's destroying
 * it meanwhile does no harm. */
struct object {
    atomic_uint references;
    enum handle_kind kind;
    CUstream stream;
    CUevent event;
    struct span *span; /* the stream's open span, see span.h */
};

/* What drivers were seen to round up to; CUDA's guide promises addresses aligned to half of it. */
#define MEMORY_UNIT 512u

/* What a module that takes `bytes` of device memory is charged with; too many to hold stay so. */
static inline uint64_t memory_charge(uint64_t bytes)
{
    return bytes > UINT64_MAX - MEMORY_UNIT ? UINT64_MAX : (bytes + MEMORY_UNIT - 1) / MEMORY_UNIT * MEMORY_UNIT;
}

#define LIMITS 3 /* stack, print queue and heap: CU_LIMIT_STACK_SIZE and the two after it */

/* The part of a module's image received so far; its room is charged to the vGPU's host memory. */
struct image {
    unsigned char *bytes;
    uint64_t size;
    uint64_t room;
};

struct session {
    uint64_t granule; /* bytes in which the device backs allocations, see granule.h */
    const char *id;
    int connection;
    atomic_bool ended;
    struct ring ring;
    struct driver driver;
    void *library;
    CUdevice device;
    CUcontext context;
    struct ledger *ledger;
    struct arbiter *arbiter;
    struct handle_table handles;
    atomic_uint streams;
    struct ranges memory; /* allocations (owner 0) and module globals (owner: the module) */
    struct object default_stream;
    CUstream clearing; /* where new memory is cleared; NULL: it is not */
    struct image image;
    uint64_t limit_bytes[LIMITS]; /* charged for what a limit was raised by */
    struct staging *staging;
    struct spans *spans;
    struct waiters *waiters;
    CUresult deferred; /* the first error of a one-way call that no answer has carried yet */
};

/* Serving functions get a private copy of the record, whose request has its full size; they check all
 * else. For a one-way message the result is deferred unless it is 0. */
#define SERVE_ARGUMENTS struct session *session, const struct record *record, struct reply *reply
#include "worker_serve.h"

/* Bytes of the record behind the request struct. */
static inline uint32_t payload_bytes(const struct record *record, uint32_t request)
{
    return record->bytes - (uint32_t)sizeof *record - request;
}

/* Find the object of a client's handle; false when there is none. Stream 0 is the default stream. */
struct object *stream_object(struct session *session, uint64_t handle);
struct object *event_object(struct session *session, uint64_t handle);
bool object_stream(struct session *session, uint64_t handle, CUstream *stream);
bool object_event(struct session *session, uint64_t handle, CUevent *event);
bool object_function(struct session *session, uint64_t handle, CUfunction *function);
void object_release(struct session *session, struct object *object);

/* Whether [address, address + bytes) is this session's device memory. */
bool session_owns(struct session *session, uint64_t address, uint64_t bytes);

/* Note device memory that the client may use from now on, at the host's cost; false when that does not fit. */
bool keep_range(struct session *session, struct range range);

/* Take records until the runtime hangs up or breaks the protocol; return false if it broke it. */
bool loop_run(struct session *session);

/* Forget the parts of an image that no load has taken. */
void image_drop(struct session *session);

/* Free all the client left. */
void memory_free_all(struct session *session);
void modules_free_all(struct session *session);

#endif
