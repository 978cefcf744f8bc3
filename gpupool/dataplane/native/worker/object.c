/* Streams and events. */
#include <stdlib.h>

#include "worker/cost.h"
#include "worker/session.h"
#include "worker/span.h"
#include "worker/waiter.h"

static uint64_t cost(enum handle_kind kind)
{
    return kind == HANDLE_STREAM ? COST_STREAM : COST_EVENT;
}

/* Whether the session may have one more; waiting threads release streams, too. */
static bool count_stream(struct session *session)
{
    if (atomic_fetch_add(&session->streams, 1) < STREAMS_MAX)
        return true;
    atomic_fetch_sub(&session->streams, 1);
    return false;
}

static void forget(struct session *session, struct object *object)
{
    if (object->kind == HANDLE_STREAM)
        atomic_fetch_sub(&session->streams, 1);
    ledger_give_host(session->ledger, cost(object->kind));
    free(object);
}

/* A charged object; NULL when the vGPU may not have it. */
static struct object *new_object(struct session *session, enum handle_kind kind)
{
    if (kind == HANDLE_STREAM && !count_stream(session))
        return NULL;
    struct object *object = NULL;
    bool taken = ledger_take_host(session->ledger, cost(kind));
    if (taken)
        object = calloc(1, sizeof *object);
    if (object) {
        object->references = 1;
        object->kind = kind;
        return object;
    }
    if (taken)
        ledger_give_host(session->ledger, cost(kind));
    if (kind == HANDLE_STREAM)
        atomic_fetch_sub(&session->streams, 1);
    return NULL;
}

struct object *stream_object(struct session *session, uint64_t handle)
{
    return handle ? handle_get(&session->handles, handle, HANDLE_STREAM) : &session->default_stream;
}

struct object *event_object(struct session *session, uint64_t handle)
{
    return handle_get(&session->handles, handle, HANDLE_EVENT);
}

bool object_stream(struct session *session, uint64_t handle, CUstream *stream)
{
    struct object *object = stream_object(session, handle);
    if (object)
        *stream = object->stream;
    return object;
}

bool object_event(struct session *session, uint64_t handle, CUevent *event)
{
    struct object *object = event_object(session, handle);
    if (object)
        *event = object->event;
    return object;
}

void object_release(struct session *session, struct object *object)
{
    if (atomic_fetch_sub(&object->references, 1) != 1)
        return;
    if (object->kind == HANDLE_STREAM)
        session->driver.cuStreamDestroy_v2(object->stream);
    else
        session->driver.cuEventDestroy_v2(object->event);
    forget(session, object);
}

static CUresult keep(struct session *session, struct object *object, uint64_t handle)
{
    if (handle_set(&session->handles, handle, object->kind, object))
        return CUDA_SUCCESS;
    object_release(session, object);
    return CUDA_ERROR_INVALID_HANDLE;
}

CUresult serve_stream_create(SERVE_ARGUMENTS)
{
    (void)reply;
    const struct stream_create_request *request = (const void *)(record + 1);
    struct object *object = new_object(session, HANDLE_STREAM);
    if (!object)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult result =
        session->driver.cuStreamCreateWithPriority(&object->stream, request->flags, request->priority);
    if (result != CUDA_SUCCESS) {
        forget(session, object);
        return result;
    }
    return keep(session, object, request->stream);
}

CUresult serve_stream_destroy(SERVE_ARGUMENTS)
{
    (void)reply;
    const struct stream_destroy_request *request = (const void *)(record + 1);
    struct object *object = handle_drop(&session->handles, request->stream, HANDLE_STREAM);
    if (!object)
        return CUDA_ERROR_INVALID_HANDLE;
    spans_forget(session, object);
    object_release(session, object);
    return CUDA_SUCCESS;
}

CUresult serve_event_create(SERVE_ARGUMENTS)
{
    (void)reply;
    const struct event_create_request *request = (const void *)(record + 1);
    struct object *object = new_object(session, HANDLE_EVENT);
    if (!object)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult result = session->driver.cuEventCreate(&object->event, request->flags);
    if (result != CUDA_SUCCESS) {
        forget(session, object);
        return result;
    }
    return keep(session, object, request->event);
}

CUresult serve_event_destroy(SERVE_ARGUMENTS)
{
    (void)reply;
    const struct event_destroy_request *request = (const void *)(record + 1);
    struct object *object = handle_drop(&session->handles, request->event, HANDLE_EVENT);
    if (!object)
        return CUDA_ERROR_INVALID_HANDLE;
    object_release(session, object);
    return CUDA_SUCCESS;
}
