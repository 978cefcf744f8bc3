#include "refcuda/stream.h"

#include <stdlib.h>

#include "refcuda/context.h"

pthread_mutex_t streams_lock = PTHREAD_MUTEX_INITIALIZER;

static void stream_destroy(struct object *object)
{
    struct stream *stream = (struct stream *)object;
    pthread_cond_destroy(&stream->changed);
    free(stream);
}

struct stream *stream_new(struct context *context, unsigned flags, int priority)
{
    struct stream *stream = calloc(1, sizeof *stream);
    bool ended;
    if (!stream)
        return NULL;
    object_init(&stream->object, KIND_STREAM, context, stream_destroy);
    pthread_cond_init(&stream->changed, NULL);
    stream->context = context;
    stream->last = &stream->first;
    stream->flags = flags;
    stream->priority = priority;
    pthread_mutex_lock(&streams_lock);
    /* Once it has, its streams are closed under this lock. */
    if (!(ended = context->object.ended)) {
        stream->next = context->streams;
        context->streams = stream;
    }
    pthread_mutex_unlock(&streams_lock);
    if (!ended)
        return stream;
    object_release(stream);
    return NULL;
}
