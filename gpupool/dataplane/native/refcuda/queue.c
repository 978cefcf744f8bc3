/* How streams run their work. */
#include "refcuda/queue.h"

#include <stdlib.h>

#include "refcuda/context.h"
#include "refcuda/driver.h"

bool place_done(const struct place *place)
{
    bool done;
    pthread_mutex_lock(&streams_lock);
    done = !place->stream || place->stream->completed >= place->sequence;
    pthread_mutex_unlock(&streams_lock);
    return done;
}

/* The lock is held. */
static void wait_locked(const struct place *place)
{
    while (place->stream && place->stream->completed < place->sequence)
        pthread_cond_wait(&place->stream->changed, &streams_lock);
}

CUresult place_wait(const struct place *place)
{
    CUresult failure;
    pthread_mutex_lock(&streams_lock);
    wait_locked(place);
    failure = place->stream ? place->stream->failure : CUDA_SUCCESS;
    pthread_mutex_unlock(&streams_lock);
    return failure;
}

void place_copy(struct place *to, const struct place *from)
{
    *to = *from;
    if (to->stream)
        object_retain(to->stream);
}

void place_drop(struct place *place)
{
    if (place->stream)
        object_release(place->stream);
    place->stream = NULL;
}

bool work_wait_for(struct work *work, const struct place *place)
{
    struct place *more;
    if (!place->stream)
        return true;
    more = realloc(work->waits, (work->wait_count + 1) * sizeof *more);
    if (!more)
        return false;
    work->waits = more;
    place_copy(&more[work->wait_count++], place);
    return true;
}

static void drop_waits(struct work *work)
{
    for (size_t i = 0; i < work->wait_count; i++)
        place_drop(&work->waits[i]);
    free(work->waits);
}

static void dispose(struct work *work)
{
    drop_waits(work);
    work->dispose(work);
}

/* The lock is held. */
static bool wait_for_stream(struct work *work, struct stream *stream)
{
    struct place place = {stream, stream->submitted};
    return stream->completed == stream->submitted || work_wait_for(work, &place);
}

/* What the legacy default stream's meaning adds to the work's dependencies; the lock is held. */
static bool wait_for_legacy(struct stream *stream, struct work *work)
{
    struct context *context = stream->context;
    if (stream->flags & CU_STREAM_NON_BLOCKING)
        return true;
    if (stream != context->legacy)
        return wait_for_stream(work, context->legacy);
    for (struct stream *other = context->streams; other; other = other->next)
        if (other != stream && !(other->flags & CU_STREAM_NON_BLOCKING) && !wait_for_stream(work, other))
            return false;
    return true;
}

/* The lock is held. */
static void unlink_stream(struct stream *stream)
{
    struct stream **at = &stream->context->streams;
    while (*at && *at != stream)
        at = &(*at)->next;
    if (*at)
        *at = stream->next;
    pthread_cond_broadcast(&stream->context->emptied);
}

/* A stream with a thread is unlinked by that when it ends. The lock is held. */
static void unlink_if_ended(struct stream *stream)
{
    if (stream->closed && !stream->threaded && stream->completed == stream->submitted)
        unlink_stream(stream);
}

/* Does the work, with its dependencies first. The lock is held, and given up while it runs. */
static CUresult perform(struct stream *stream, struct work *work)
{
    CUresult result;
    for (size_t i = 0; i < work->wait_count; i++)
        wait_locked(&work->waits[i]);
    pthread_mutex_unlock(&streams_lock);
    result = work->run(work);
    pthread_mutex_lock(&streams_lock);
    if (result && !stream->failure)
        stream->failure = result;
    stream->completed = work->sequence;
    pthread_cond_broadcast(&stream->changed);
    unlink_if_ended(stream);
    return result;
}

/* The work may be inline with a caller: then it is not in the queue, and what is must wait for it. */
static bool has_turn(const struct stream *stream)
{
    return stream->first && stream->first->sequence == stream->completed + 1;
}

static void *stream_main(void *argument)
{
    struct stream *stream = argument;
    pthread_mutex_lock(&streams_lock);
    while (!stream->closed || stream->completed < stream->submitted) {
        struct work *work = stream->first;
        if (!has_turn(stream)) {
            pthread_cond_wait(&stream->changed, &streams_lock);
            continue;
        }
        if (!(stream->first = work->next))
            stream->last = &stream->first;
        perform(stream, work);
        pthread_mutex_unlock(&streams_lock);
        dispose(work);
        pthread_mutex_lock(&streams_lock);
    }
    unlink_stream(stream);
    pthread_mutex_unlock(&streams_lock);
    object_release(stream);
    return NULL;
}

/* The lock is held. */
static bool start_thread(struct stream *stream)
{
    if (stream->threaded)
        return true;
    object_retain(stream);
    stream->threaded = driver_start_thread("a stream", stream_main, stream);
    if (!stream->threaded)
        object_release(stream);
    return stream->threaded;
}

/* Gives the work its place at the end of the stream; the lock is held. */
static CUresult admit(struct stream *stream, struct work *work)
{
    if (stream->closed)
        return refuse(CUDA_ERROR_INVALID_HANDLE, "the stream is destroyed");
    if (!wait_for_legacy(stream, work))
        return CUDA_ERROR_OUT_OF_MEMORY;
    work->next = NULL;
    work->sequence = stream->submitted + 1;
    return CUDA_SUCCESS;
}

/* The lock is held. */
static CUresult enqueue(struct stream *stream, struct work *work)
{
    if (!start_thread(stream))
        return CUDA_ERROR_OPERATING_SYSTEM;
    stream->submitted = work->sequence;
    *stream->last = work;
    stream->last = &work->next;
    pthread_cond_broadcast(&stream->changed);
    return CUDA_SUCCESS;
}

CUresult stream_submit(struct stream *stream, struct work *work, struct place *place)
{
    CUresult result;
    pthread_mutex_lock(&streams_lock);
    result = admit(stream, work);
    if (!result)
        result = enqueue(stream, work);
    if (!result && place) {
        struct place here = {stream, stream->submitted};
        place_copy(place, &here);
    }
    pthread_mutex_unlock(&streams_lock);
    if (result)
        dispose(work);
    return result;
}

/* Does the work on the calling thread when the stream is empty: saves two thread switches. The lock is held. */
static bool run_here(struct stream *stream, struct work *work, CUresult *result)
{
    if (stream->completed < stream->submitted)
        return false;
    stream->submitted = work->sequence;
    *result = perform(stream, work);
    return true;
}

CUresult stream_run(struct stream *stream, struct work *work)
{
    CUresult result;
    bool queued = false;
    pthread_mutex_lock(&streams_lock);
    result = admit(stream, work);
    if (!result && !run_here(stream, work, &result)) {
        struct place here = {stream, work->sequence};
        result = enqueue(stream, work);
        if (!result) {
            queued = true;
            wait_locked(&here);
            result = stream->failure;
        }
    }
    pthread_mutex_unlock(&streams_lock);
    if (!queued)
        dispose(work);
    return result;
}

void stream_close(struct stream *stream)
{
    pthread_mutex_lock(&streams_lock);
    if (!stream->closed) {
        stream->closed = true;
        pthread_cond_broadcast(&stream->changed);
        unlink_if_ended(stream);
    }
    pthread_mutex_unlock(&streams_lock);
}

CUresult streams_wait(struct context *context)
{
    struct work all = {.waits = NULL};
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&streams_lock);
    for (struct stream *stream = context->streams; stream && !result; stream = stream->next)
        if (!wait_for_stream(&all, stream))
            result = CUDA_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < all.wait_count; i++)
        wait_locked(&all.waits[i]);
    for (struct stream *stream = context->streams; stream && !result; stream = stream->next)
        result = stream->failure;
    pthread_mutex_unlock(&streams_lock);
    drop_waits(&all);
    return result;
}

void streams_end(struct context *context)
{
    struct stream *stream, *next;
    pthread_mutex_lock(&streams_lock);
    for (stream = context->streams; stream; stream = next) {
        next = stream->next;
        stream->closed = true;
        pthread_cond_broadcast(&stream->changed);
        unlink_if_ended(stream);
    }
    while (context->streams)
        pthread_cond_wait(&context->emptied, &streams_lock);
    pthread_mutex_unlock(&streams_lock);
}
