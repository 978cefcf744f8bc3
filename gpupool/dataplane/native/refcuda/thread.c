/* Which stream a handle means in the calling thread, which has default streams of its own. */
#include "refcuda/thread.h"

#include <stdlib.h>

#include "refcuda/context.h"
#include "refcuda/current.h"
#include "refcuda/driver.h"
#include "refcuda/queue.h"
#include "refcuda/stream.h"

struct thread_stream {
    uint64_t context; /* its id */
    struct stream *stream;
    struct thread_stream *next;
};

struct thread {
    struct thread_stream *streams;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool key_made;

static void thread_free(void *pointer)
{
    struct thread *thread = pointer;
    struct thread_stream *at = thread->streams;
    while (at) {
        struct thread_stream *next = at->next;
        stream_close(at->stream);
        object_release(at->stream);
        free(at);
        at = next;
    }
    free(thread);
}

static void make_key(void)
{
    key_made = !pthread_key_create(&key, thread_free);
}

/* NULL: no memory. */
static struct thread *this_thread(void)
{
    struct thread *thread;
    pthread_once(&once, make_key);
    if (!key_made)
        return NULL;
    thread = pthread_getspecific(key);
    if (!thread && (thread = calloc(1, sizeof *thread)) && pthread_setspecific(key, thread)) {
        free(thread);
        thread = NULL;
    }
    return thread;
}

/* Forgets the streams of contexts that have ended. */
static void sweep(struct thread *thread)
{
    struct thread_stream **at = &thread->streams;
    while (*at) {
        struct thread_stream *entry = *at;
        bool closed;
        pthread_mutex_lock(&streams_lock);
        closed = entry->stream->closed;
        pthread_mutex_unlock(&streams_lock);
        if (!closed) {
            at = &entry->next;
            continue;
        }
        *at = entry->next;
        object_release(entry->stream);
        free(entry);
    }
}

/* The calling thread's per-thread default stream in the context, counted. NULL: no memory. */
static struct stream *context_thread_stream(struct context *context)
{
    struct thread *thread = this_thread();
    struct thread_stream *entry;
    if (!thread)
        return NULL;
    for (entry = thread->streams; entry; entry = entry->next)
        if (entry->context == context->id)
            return object_retain(entry->stream);
    sweep(thread);
    if (!(entry = malloc(sizeof *entry)))
        return NULL;
    *entry = (struct thread_stream){context->id, stream_new(context, CU_STREAM_DEFAULT, 0), thread->streams};
    if (!entry->stream) {
        free(entry);
        return NULL;
    }
    thread->streams = entry;
    return object_retain(entry->stream);
}

static CUresult acquire_default(bool per_thread, struct stream **stream)
{
    HELD struct context *context = NULL;
    CUresult result = context_current(&context);
    if (result)
        return result;
    *stream = per_thread ? context_thread_stream(context) : object_retain(context->legacy);
    return *stream ? CUDA_SUCCESS : context_refusal(context);
}

CUresult stream_acquire(CUstream handle, enum null_stream null, struct stream **stream)
{
    CUresult result;
    if (handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD)
        return acquire_default(handle == CU_STREAM_PER_THREAD, stream);
    if (!handle)
        return acquire_default(null == NULL_IS_PER_THREAD, stream);
    if ((result = driver_ready()))
        return result;
    *stream = object_acquire(KIND_STREAM, handle);
    return *stream ? CUDA_SUCCESS : refuse(CUDA_ERROR_INVALID_HANDLE, "no stream has the handle %p", (void *)handle);
}
