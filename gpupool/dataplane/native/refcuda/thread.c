/* What belongs to one thread of the program: its stack of contexts, its per-thread default streams. */
#include <stdlib.h>

#include "refcuda/context.h"
#include "refcuda/driver.h"

struct thread_stream {
    uint64_t context; /* its id */
    struct stream *stream;
    struct thread_stream *next;
};

struct thread {
    CUcontext *stack;
    size_t depth, capacity;
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
    free(thread->stack);
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

bool context_push(CUcontext handle)
{
    struct thread *thread = this_thread();
    if (!thread)
        return false;
    if (thread->depth == thread->capacity) {
        size_t larger = thread->capacity ? thread->capacity * 2 : 8;
        CUcontext *moved = realloc(thread->stack, larger * sizeof *moved);
        if (!moved)
            return false;
        thread->stack = moved;
        thread->capacity = larger;
    }
    thread->stack[thread->depth++] = handle;
    return true;
}

CUcontext context_top(void)
{
    struct thread *thread = this_thread();
    return thread && thread->depth ? thread->stack[thread->depth - 1] : NULL;
}

CUcontext context_pop(void)
{
    struct thread *thread = this_thread();
    return thread && thread->depth ? thread->stack[--thread->depth] : NULL;
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

struct stream *context_thread_stream(struct context *context)
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
