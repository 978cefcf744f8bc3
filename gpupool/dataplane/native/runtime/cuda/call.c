#include "runtime/cuda/call.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/cuda/current.h"
#include "runtime/cuda/device.h"
#include "runtime/process.h"
#include "wire/cuda/result.h"

#define HANDLE_ORDINAL_SHIFT HANDLE_BITS
#define HANDLE_KIND_SHIFT 56
#define NUMBER_MASK ((1ull << HANDLE_BITS) - 1)
#define ORDINAL_MASK 0xffffull

uint64_t public_handle(const struct session *session, enum handle_kind kind, uint64_t handle)
{
    return (uint64_t)kind << HANDLE_KIND_SHIFT | (uint64_t)session->ordinal << HANDLE_ORDINAL_SHIFT | handle;
}

CUresult call_resolve(struct call *call, enum handle_kind kind, const void *handle, uint64_t *number)
{
    uint64_t value = (uintptr_t)handle;
    struct session *session = process_opened((int)(value >> HANDLE_ORDINAL_SHIFT & ORDINAL_MASK));
    if (value >> HANDLE_KIND_SHIFT != kind || !session || (call->session && call->session != session))
        return CUDA_ERROR_INVALID_HANDLE;
    call->session = session;
    *number = value & NUMBER_MASK;
    return cuda_result(session_state(session));
}

CUresult call_handle(struct call *call, enum handle_kind kind, const void *handle, uint64_t *number)
{
    CUresult result = call_resolve(call, kind, handle, number);
    if (result != CUDA_SUCCESS)
        return result;
    return call_live(call, kind, *number) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

bool call_live(struct call *call, enum handle_kind kind, uint64_t number)
{
    pthread_mutex_lock(&call->session->table_lock);
    bool live = handle_get(&call->session->handles, number, kind);
    pthread_mutex_unlock(&call->session->table_lock);
    return live;
}

CUresult context_find(CUcontext context, struct session **session, uint64_t *handle)
{
    struct call call = {0};
    CUresult result;
    if (!context)
        return context_current(session, handle);
    result = call_handle(&call, HANDLE_CONTEXT, context, handle);
    if (result == CUDA_ERROR_INVALID_HANDLE)
        return CUDA_ERROR_INVALID_CONTEXT;
    *session = call.session;
    if (result == CUDA_SUCCESS && *handle == call.session->device->primary && !call.session->device->primary_retained)
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    return result;
}

CUresult context_current(struct session **session, uint64_t *handle)
{
    CUcontext current = current_top();
    return current ? context_find(current, session, handle) : CUDA_ERROR_INVALID_CONTEXT;
}

bool context_live(const struct session *session, uint64_t context)
{
    return handle_get(&session->handles, context, HANDLE_CONTEXT) &&
           (context != session->device->primary || session->device->primary_retained);
}

CUresult call_session(struct call *call)
{
    uint64_t context;
    if (call->session)
        return cuda_result(session_state(call->session));
    CUresult result = context_current(&call->session, &context);
    return result == CUDA_SUCCESS ? cuda_result(session_state(call->session)) : result;
}

uint64_t call_reserve(struct call *call)
{
    pthread_mutex_lock(&call->session->table_lock);
    uint64_t number = handle_new(&call->session->handles, HANDLE_MAKING, NULL);
    pthread_mutex_unlock(&call->session->table_lock);
    return number;
}

void call_unreserve(struct call *call, uint64_t number)
{
    pthread_mutex_lock(&call->session->table_lock);
    handle_drop(&call->session->handles, number, HANDLE_MAKING);
    pthread_mutex_unlock(&call->session->table_lock);
}

/* The table lock is held: the worker must learn of a handle before it learns of its end, which another thread may bring
 * about with the context. */
static CUresult create(struct session *session, enum handle_kind kind, struct item *item, uint16_t message,
                       void *request, size_t bytes)
{
    struct bytes head = {request, bytes}, none = {NULL, 0};
    if (!context_live(session, item->context))
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    uint64_t number = handle_new(&session->handles, kind, item);
    if (!number)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(request, &number, sizeof number);
    CUresult result = cuda_result(session_send(session, message, head, none));
    if (result != CUDA_SUCCESS)
        handle_drop(&session->handles, number, kind);
    return result;
}

CUresult call_create(struct call *call, enum handle_kind kind, struct item *item, uint16_t message, void *request,
                     size_t bytes)
{
    CUresult result = context_current(&call->session, &item->context);
    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&call->session->table_lock);
    result = create(call->session, kind, item, message, request, bytes);
    pthread_mutex_unlock(&call->session->table_lock);
    return result;
}

bool call_drop(struct session *session, enum handle_kind kind, uint64_t number, uint16_t message)
{
    struct bytes request = {&number, sizeof number}, none = {NULL, 0};
    pthread_mutex_lock(&session->table_lock);
    void *item = handle_drop(&session->handles, number, kind);
    bool found = item;
    /* Under the lock: the number must not reach the worker anew before its end does. */
    if (found)
        session_send(session, message, request, none);
    pthread_mutex_unlock(&session->table_lock);
    free(item);
    return found;
}

CUresult call_destroy(enum handle_kind kind, const void *handle, uint16_t message)
{
    struct call call = {0};
    uint64_t number;
    CUresult result = call_handle(&call, kind, handle, &number);
    if (result != CUDA_SUCCESS)
        return result;
    return call_drop(call.session, kind, number, message) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult call_send(struct call *call, uint16_t number, const void *request, size_t request_bytes,
                   const void *payload, size_t payload_bytes)
{
    CUresult result = call_session(call);
    if (result != CUDA_SUCCESS)
        return result;
    struct bytes head = {request, request_bytes}, rest = {payload, payload_bytes};
    return cuda_result(session_send(call->session, number, head, rest));
}

CUresult call_ask(struct call *call, uint16_t number, const void *request, size_t request_bytes,
                  const void *payload, size_t payload_bytes, void *reply, size_t reply_bytes)
{
    size_t got;
    CUresult result = call_session(call);
    if (result != CUDA_SUCCESS)
        return result;
    struct bytes head = {request, request_bytes}, rest = {payload, payload_bytes};
    result = cuda_result(session_ask(call->session, number, head, rest, reply, reply_bytes, &got));
    if (result == CUDA_SUCCESS && got < reply_bytes)
        return CUDA_ERROR_UNKNOWN;
    return result;
}
