#include "worker/staging.h"

#include <pthread.h>
#include <stdlib.h>

#include "gpupool_messages.h"
#include "worker/waiter.h"

#define PIECES 1024u

struct piece {
    uint64_t end;
    struct event *event;
    bool read; /* no event to wait for */
};

/* A queue in order of submission. The record-taking thread appends, waiting threads take off too. */
struct staging {
    pthread_mutex_t lock;
    struct piece pieces[PIECES];
    unsigned first, count;
};

struct staging *staging_new(void)
{
    struct staging *staging = calloc(1, sizeof *staging);
    if (staging)
        pthread_mutex_init(&staging->lock, NULL);
    return staging;
}

const unsigned char *staging_bytes(struct session *session, uint64_t position, uint64_t bytes)
{
    uint64_t size = session->ring.staging_bytes;
    uint64_t offset = position % size;
    return bytes <= size - offset ? session->ring.arena + offset : NULL;
}

/* Take off what is read; the lock is held. Returns the event to wait for next, NULL when none is left. */
static struct event *settle(struct session *session)
{
    struct staging *staging = session->staging;
    while (staging->count) {
        struct piece *piece = &staging->pieces[staging->first];
        if (!piece->read && session->backend->event_query(session->device, piece->event) == RESULT_NOT_READY)
            return piece->event;
        atomic_store(&session->ring.control->staging_released, piece->end);
        staging->first = (staging->first + 1) % PIECES;
        staging->count--;
    }
    return NULL;
}

/* Wait until a piece has room; the lock is held. */
static struct piece *new_piece(struct session *session)
{
    struct staging *staging = session->staging;
    struct event *event;
    settle(session);
    while (staging->count == PIECES && (event = settle(session)))
        session->backend->event_wait(session->device, event);
    return &staging->pieces[(staging->first + staging->count) % PIECES];
}

enum result staging_release(struct session *session, uint64_t end, struct object *stream)
{
    struct staging *staging = session->staging;
    enum result result = RESULT_OK;
    pthread_mutex_lock(&staging->lock);
    struct piece *piece = new_piece(session);
    piece->end = end;
    piece->read = !stream;
    if (stream && !piece->event)
        result = session->backend->event_make(session->device, session->backend->untimed, &piece->event);
    if (stream && result == RESULT_OK)
        result = session->backend->event_record(session->device, piece->event, stream->stream);
    if (result != RESULT_OK)
        piece->read = true;
    staging->count++;
    settle(session);
    pthread_mutex_unlock(&staging->lock);
    return result;
}

static bool released(struct session *session, uint64_t position)
{
    uint64_t there = atomic_load(&session->ring.control->staging_released);
    return (int64_t)(there - position) >= 0;
}

static enum result wait_released(struct session *session, struct job *job)
{
    struct staging *staging = session->staging;
    for (;;) {
        pthread_mutex_lock(&staging->lock);
        struct event *event = settle(session);
        pthread_mutex_unlock(&staging->lock);
        if (!event || released(session, job->position))
            return RESULT_OK;
        session->backend->event_wait(session->device, event);
    }
}

enum result serve_staging_wait(SERVE_ARGUMENTS)
{
    const struct staging_wait_request *request = (const void *)(record + 1);
    struct job job = {.record = *record, .wait = wait_released, .position = request->position};
    reply->later = waiters_add(session->waiters, &job);
    return reply->later ? RESULT_OK : RESULT_OUT_OF_MEMORY;
}
