#include "runtime/session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attachment/log.h"
#include "runtime/address_map.h"

#define LOOK_MS 100 /* how long a blocked call may miss that the worker is gone */

/* The reason is logged first: a program may exit as soon as it gets an error. */
static void mark_lost(struct session *session)
{
    notices_log_lost(&session->notices);
    atomic_store(&session->lost, true);
}

/* Learns at once that the worker is gone, or what the agent tells, even while the program calls nothing. */
static void *watch(void *argument)
{
    struct session *session = argument;
    struct pollfd watched[] = {{.fd = session->connection, .events = POLLIN}, {.events = POLLIN}};
    bool heard, revoked = false;
    while (!revoked && !watched[0].revents) {
        watched[1].fd = notices_descriptor(&session->notices);
        if (poll(watched, 2, -1) <= 0) {
            watched[0].revents = 0;
            continue;
        }
        if (!watched[1].revents)
            continue;
        revoked = notices_take(&session->notices, &heard);
        /* A channel that can't be read, for lack of descriptors, must not keep this thread busy. */
        if (!heard)
            poll(NULL, 0, LOOK_MS);
    }
    mark_lost(session);
    return NULL;
}

/* Signals belong to the program's own threads. The stack has the default size, which costs address space
 * only: a smaller one may have no room for the program's thread-local variables. */
static bool start_watch(struct session *session)
{
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&thread, NULL, watch, session);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failed)
        pthread_detach(thread);
    return !failed;
}

static struct session *new_session(int ordinal)
{
    struct session *session = calloc(1, sizeof *session);
    if (!session)
        return NULL;
    session->ordinal = ordinal;
    session->connection = -1;
    notices_open(&session->notices, ordinal, -1);
    places_init(&session->slots, RING_SLOTS);
    places_init(&session->bounces, BOUNCES);
    pthread_mutex_t *locks[] = {&session->send_lock, &session->staging_lock, &session->table_lock};
    for (size_t index = 0; index < sizeof locks / sizeof *locks; index++)
        pthread_mutex_init(locks[index], NULL);
    return session;
}

static enum result start(struct session *session, const struct vgpu *vgpu,
                         enum result (*learn)(struct session *session))
{
    struct opened opened;
    enum result result = handshake_open(vgpu, &opened);
    if (result != RESULT_OK)
        return result;
    session->connection = opened.connection;
    notices_open(&session->notices, session->ordinal, opened.control);
    bool mapped = ring_map(&session->ring, opened.ring);
    close(opened.ring);
    if (!mapped) {
        runtime_log("device %d: the ring can't be mapped: %s", session->ordinal, strerror(errno));
        return RESULT_OPERATING_SYSTEM;
    }
    result = learn(session);
    if (result == RESULT_OK && !start_watch(session))
        result = RESULT_OPERATING_SYSTEM;
    return result;
}

enum result session_open(int ordinal, const struct vgpu *vgpu, enum result (*learn)(struct session *session),
                         struct session **session)
{
    *session = new_session(ordinal);
    if (!*session)
        return RESULT_OUT_OF_MEMORY;
    enum result result = start(*session, vgpu, learn);
    if (result == RESULT_OK)
        return result;
    session_abandon(*session);
    handle_table_clear(&(*session)->handles);
    ring_unmap(&(*session)->ring);
    free(*session);
    *session = NULL;
    return result;
}

void session_abandon(struct session *session)
{
    if (session->connection >= 0)
        close(session->connection);
    session->connection = -1;
    notices_close(&session->notices);
    address_map_clear(&session->memory);
    atomic_store(&session->lost, true);
}

bool session_owns(struct session *session, uint64_t address, uint64_t bytes, struct range *found)
{
    pthread_mutex_lock(&session->table_lock);
    const struct range *range = ranges_find(&session->memory, address, bytes);
    if (range && found)
        *found = *range;
    pthread_mutex_unlock(&session->table_lock);
    return range;
}

/* Before the watching thread runs, and should it not be scheduled: look by ourselves. */
static bool hung_up(struct session *session)
{
    struct pollfd connection = {.fd = session->connection, .events = POLLIN};
    if (poll(&connection, 1, 0) > 0)
        mark_lost(session);
    return atomic_load_explicit(&session->lost, memory_order_relaxed);
}

/* Wait for room in the ring; the send lock is held. NULL when the session is lost. */
static unsigned char *wait_place(struct session *session, uint32_t bytes)
{
    unsigned char *place;
    while (!(place = ring_reserve(&session->ring, bytes))) {
        ring_wait_room(&session->ring, LOOK_MS);
        if (hung_up(session))
            return NULL;
    }
    return place;
}

/* Start a record with `bytes` of content in the ring; on success the send lock is held. */
static enum result begin_record(struct session *session, struct record head, size_t bytes, unsigned char **content)
{
    enum result state = session_state(session);
    if (state != RESULT_OK)
        return state;
    if (bytes > RING_RECORD_LIMIT - sizeof head)
        return RESULT_INVALID_VALUE;
    head.bytes = (uint32_t)(sizeof head + bytes);
    pthread_mutex_lock(&session->send_lock);
    unsigned char *place = wait_place(session, head.bytes);
    if (!place) {
        pthread_mutex_unlock(&session->send_lock);
        return RESULT_DEVICE_UNAVAILABLE;
    }
    memcpy(place, &head, sizeof head);
    *content = place + sizeof head;
    return RESULT_OK;
}

enum result session_begin(struct session *session, uint16_t call, size_t bytes, unsigned char **content)
{
    return begin_record(session, (struct record){.call = call, .slot = RING_NO_SLOT}, bytes, content);
}

void session_commit(struct session *session, size_t bytes)
{
    ring_publish(&session->ring, (uint32_t)(sizeof(struct record) + bytes));
    pthread_mutex_unlock(&session->send_lock);
}

static enum result send_record(struct session *session, struct record head, struct bytes request,
                            struct bytes payload)
{
    unsigned char *content;
    enum result result = begin_record(session, head, request.size + payload.size, &content);
    if (result != RESULT_OK)
        return result;
    if (request.size)
        memcpy(content, request.data, request.size);
    if (payload.size)
        memcpy(content + request.size, payload.data, payload.size);
    session_commit(session, request.size + payload.size);
    return RESULT_OK;
}

enum result session_send(struct session *session, uint16_t call, struct bytes request, struct bytes payload)
{
    return send_record(session, (struct record){.call = call, .slot = RING_NO_SLOT}, request, payload);
}

static enum result await(struct session *session, unsigned index, void *reply, size_t room, size_t *got)
{
    struct slot *slot = &session->ring.slots[index];
    while (!slot_wait(slot, session->sequence[index], LOOK_MS))
        if (hung_up(session))
            return RESULT_DEVICE_UNAVAILABLE;
    size_t bytes = atomic_load_explicit(&slot->bytes, memory_order_relaxed);
    *got = bytes < room ? bytes : room;
    if (*got > RING_REPLY_LIMIT)
        return RESULT_UNKNOWN;
    if (*got)
        memcpy(reply, slot->data, *got);
    return (enum result)atomic_load_explicit(&slot->result, memory_order_relaxed);
}

enum result session_ask(struct session *session, uint16_t call, struct bytes request, struct bytes payload,
                     void *reply, size_t room, size_t *got)
{
    unsigned slot = places_take(&session->slots);
    struct record head = {.call = call, .slot = (uint16_t)slot, .sequence = ++session->sequence[slot]};
    enum result result = send_record(session, head, request, payload);
    *got = 0;
    if (result == RESULT_OK)
        result = await(session, slot, reply, room, got);
    places_give(&session->slots, slot);
    return result;
}
