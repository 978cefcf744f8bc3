#include "worker/object.h"

#include <stdlib.h>

#include "gpupool_messages.h"
#include "worker/cost.h"
#include "worker/span.h"

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

void object_release(struct session *session, struct object *object)
{
    if (atomic_fetch_sub(&object->references, 1) != 1)
        return;
    if (object->kind == HANDLE_STREAM)
        session->backend->stream_end(session->device, object->stream);
    else
        session->backend->event_end(session->device, object->event);
    forget(session, object);
}

static enum result keep(struct session *session, struct object *object, uint64_t handle)
{
    if (handle_set(&session->handles, handle, object->kind, object))
        return RESULT_OK;
    object_release(session, object);
    return RESULT_INVALID_HANDLE;
}

enum result serve_stream_create(SERVE_ARGUMENTS)
{
    (void)reply;
    const struct stream_create_request *request = (const void *)(record + 1);
    struct object *object = new_object(session, HANDLE_STREAM);
    if (!object)
        return RESULT_OUT_OF_MEMORY;
    enum result result =
        session->backend->stream_make(session->device, request->flags, request->priority, &object->stream);
    if (result != RESULT_OK) {
        forget(session, object);
        return result;
    }
    return keep(session, object, request->stream);
}

enum result serve_stream_destroy(SERVE_ARGUMENTS)
{
    (void)reply;
    const struct stream_destroy_request *request = (const void *)(record + 1);
    struct object *object = handle_drop(&session->handles, request->stream, HANDLE_STREAM);
    if (!object)
        return RESULT_INVALID_HANDLE;
    spans_forget(session, object);
    object_release(session, object);
    return RESULT_OK;
}

enum result serve_event_create(SERVE_ARGUMENTS)
{
    (void)reply;
    const struct event_create_request *request = (const void *)(record + 1);
    struct object *object = new_object(session, HANDLE_EVENT);
    if (!object)
        return RESULT_OUT_OF_MEMORY;
    enum result result = session->backend->event_make(session->device, request->flags, &object->event);
    if (result != RESULT_OK) {
        forget(session, object);
        return result;
    }
    return keep(session, object, request->event);
}

enum result serve_event_destroy(SERVE_ARGUMENTS)
{
    (void)reply;
    const struct event_destroy_request *request = (const void *)(record + 1);
    struct object *object = handle_drop(&session->handles, request->event, HANDLE_EVENT);
    if (!object)
        return RESULT_INVALID_HANDLE;
    object_release(session, object);
    return RESULT_OK;
}
