/* One vGPU's connection: the ring, and the books that both sides keep. It knows no API: results and messages pass
 * through it unread. */
#ifndef GPUPOOL_RUNTIME_SESSION_H
#define GPUPOOL_RUNTIME_SESSION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attachment/handshake.h"
#include "runtime/notices.h"
#include "runtime/places.h"
#include "wire/handle_table.h"
#include "wire/ranges.h"
#include "wire/result.h"
#include "wire/ring.h"

#define BOUNCES 8u

struct device; /* what the API keeps of the session's device */

struct session {
    int ordinal;
    int connection;
    atomic_bool lost; /* the worker is gone; every call says so */
    struct notices notices;
    struct ring ring;
    pthread_mutex_t send_lock; /* the ring's producer side */
    struct places slots; /* of the ring, one per thread that waits */
    uint32_t sequence[RING_SLOTS];
    pthread_mutex_t staging_lock; /* pieces arrive in the order of their places */
    uint64_t staged;
    struct places bounces; /* parts of the bounce memory, one per thread that copies out */
    pthread_mutex_t table_lock; /* all below */
    struct handle_table handles;
    struct ranges memory; /* see address_map.h; owner: the context, or the module of a global */
    struct ranges heap;   /* pinned blocks, by arena offset */
    struct device *device;
};

/* A stretch of bytes to send or to receive into. */
struct bytes {
    const void *data;
    size_t size;
};

/* Open a session on a vGPU, which is the program's device `ordinal`. `learn` is called when the worker serves and makes
 * session->device. On failure `*session` is NULL and one log line says why. */
enum result session_open(int ordinal, const struct vgpu *vgpu, enum result (*learn)(struct session *session),
                         struct session **session);
/* RESULT_DEVICE_UNAVAILABLE once the session is lost. */
static inline enum result session_state(const struct session *session)
{
    return atomic_load_explicit(&session->lost, memory_order_relaxed) ? RESULT_DEVICE_UNAVAILABLE : RESULT_OK;
}
/* Send a one-way message. */
enum result session_send(struct session *session, uint16_t call, struct bytes request, struct bytes payload);
/* Begin a one-way message of `bytes` where the worker reads it, instead of in the caller's stack; on success no one
 * else sends until session_commit. `*content` is to be filled. */
enum result session_begin(struct session *session, uint16_t call, size_t bytes, unsigned char **content);
void session_commit(struct session *session, size_t bytes);
/* Send a message and wait for its answer: up to `room` bytes go to `reply`, their number to `*got`. */
enum result session_ask(struct session *session, uint16_t call, struct bytes request, struct bytes payload,
                        void *reply, size_t room, size_t *got);
/* Whether the session's device memory holds all of the range; the range's owner and bounds if asked. */
bool session_owns(struct session *session, uint64_t address, uint64_t bytes, struct range *found);
/* After fork(), in the child: forget the parent's connection. */
void session_abandon(struct session *session);

#endif
