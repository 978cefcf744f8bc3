#include <string.h>

#include "runtime/runtime.h"

#define NUMBER_MASK ((1ull << HANDLE_BITS) - 1)
#define ORDINAL_MASK 0xffffull

uint64_t public_handle(const struct session *session, enum handle_kind kind, uint64_t handle)
{
    return (uint64_t)kind << HANDLE_KIND_SHIFT | (uint64_t)session->ordinal << HANDLE_ORDINAL_SHIFT | handle;
}

static CUresult alive(struct session *session)
{
    if (atomic_load_explicit(&session->lost, memory_order_relaxed))
        return CUDA_ERROR_DEVICE_UNAVAILABLE;
    return CUDA_SUCCESS;
}

/* Which number in which session a handle is, live or not. */
static CUresult resolve(struct call *call, enum handle_kind kind, const void *handle, uint64_t *number)
{
    uint64_t value = (uintptr_t)handle;
    struct session *session = runtime_opened((int)(value >> HANDLE_ORDINAL_SHIFT & ORDINAL_MASK));
    if (value >> HANDLE_KIND_SHIFT != kind || !session || (call->session && call->session != session))
        return CUDA_ERROR_INVALID_HANDLE;
    call->session = session;
    *number = value & NUMBER_MASK;
    return alive(session);
}

CUresult call_handle(struct call *call, enum handle_kind kind, const void *handle, uint64_t *number)
{
    CUresult result = resolve(call, kind, handle, number);
    if (result != CUDA_SUCCESS)
        return result;
    return call_live(call, kind, *number) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult call_function(struct call *call, const void *handle, uint64_t *number, struct function **function)
{
    CUresult result = resolve(call, HANDLE_FUNCTION, handle, number);
    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&call->session->table_lock);
    *function = handle_get(&call->session->handles, *number, HANDLE_FUNCTION);
    if (*function)
        atomic_fetch_add_explicit(&(*function)->references, 1, memory_order_relaxed);
    pthread_mutex_unlock(&call->session->table_lock);
    return *function ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

bool call_live(struct call *call, enum handle_kind kind, uint64_t number)
{
    pthread_mutex_lock(&call->session->table_lock);
    bool live = handle_get(&call->session->handles, number, kind);
    pthread_mutex_unlock(&call->session->table_lock);
    return live;
}

CUresult call_session(struct call *call)
{
    uint64_t context;
    if (call->session)
        return alive(call->session);
    CUresult result = context_current(&call->session, &context);
    return result == CUDA_SUCCESS ? alive(call->session) : result;
}

CUresult call_stream(struct call *call, CUstream stream, bool per_thread, uint64_t *number)
{
    bool own = stream == CU_STREAM_PER_THREAD || (!stream && per_thread);
    *number = 0;
    if (stream && stream != CU_STREAM_LEGACY && stream != CU_STREAM_PER_THREAD)
        return call_handle(call, HANDLE_STREAM, stream, number);
    CUresult result = call_session(call);
    if (result == CUDA_SUCCESS && own)
        result = stream_of_thread(call->session, number);
    return result;
}

uint64_t call_reserve(struct call *call)
{
    pthread_mutex_lock(&call->session->table_lock);
    uint64_t number = handle_new(&call->session->handles, HANDLE_MAKING, NULL);
    pthread_mutex_unlock(&call->session->table_lock);
    return number;
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
    CUresult result = session_send(session, message, head, none);
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

CUresult call_send(struct call *call, uint16_t number, const void *request, size_t request_bytes,
                   const void *payload, size_t payload_bytes)
{
    CUresult result = call_session(call);
    if (result != CUDA_SUCCESS)
        return result;
    struct bytes head = {request, request_bytes}, rest = {payload, payload_bytes};
    return session_send(call->session, number, head, rest);
}

CUresult call_ask(struct call *call, uint16_t number, const void *request, size_t request_bytes,
                  const void *payload, size_t payload_bytes, void *reply, size_t reply_bytes)
{
    size_t got;
    CUresult result = call_session(call);
    if (result != CUDA_SUCCESS)
        return result;
    struct bytes head = {request, request_bytes}, rest = {payload, payload_bytes};
    result = session_ask(call->session, number, head, rest, reply, reply_bytes, &got);
    if (result == CUDA_SUCCESS && got < reply_bytes)
        return CUDA_ERROR_UNKNOWN;
    return result;
}
