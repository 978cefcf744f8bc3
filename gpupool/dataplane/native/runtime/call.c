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

CUresult call_handle(struct call *call, enum handle_kind kind, const void *handle, uint64_t *number)
{
    uint64_t value = (uintptr_t)handle;
    struct session *session = runtime_opened((int)(value >> HANDLE_ORDINAL_SHIFT & ORDINAL_MASK));
    if (value >> HANDLE_KIND_SHIFT != kind || !session || (call->session && call->session != session))
        return CUDA_ERROR_INVALID_HANDLE;
    call->session = session;
    *number = value & NUMBER_MASK;
    CUresult result = alive(session);
    if (result != CUDA_SUCCESS)
        return result;
    return call_object(call, kind, *number) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

void *call_object(struct call *call, enum handle_kind kind, uint64_t number)
{
    pthread_mutex_lock(&call->session->table_lock);
    void *object = handle_get(&call->session->handles, number, kind);
    pthread_mutex_unlock(&call->session->table_lock);
    return object;
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

CUresult call_register(struct call *call, enum handle_kind kind, struct item *item, uint64_t *number)
{
    CUresult result = alive(call->session);
    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&call->session->table_lock);
    *number = handle_new(&call->session->handles, kind, item);
    pthread_mutex_unlock(&call->session->table_lock);
    return *number ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult call_new(struct call *call, enum handle_kind kind, struct item *item, uint64_t *number)
{
    CUresult result = context_current(&call->session, &item->context);
    return result == CUDA_SUCCESS ? call_register(call, kind, item, number) : result;
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
