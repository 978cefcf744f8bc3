/* Streams and events. */
#include "runtime/cuda/stream.h"

#include <stdlib.h>

#include "gpupool_calls.h"
#include "gpupool_messages.h"
#include "wire/cuda/result.h"

struct stream {
    struct item item;
    unsigned flags;
    int priority;
};

static CUresult create(struct call *call, unsigned flags, int priority, uint64_t *number)
{
    if (flags & ~(unsigned)CU_STREAM_NON_BLOCKING)
        return CUDA_ERROR_INVALID_VALUE;
    struct stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return CUDA_ERROR_OUT_OF_MEMORY;
    stream->flags = flags;
    stream->priority = priority;
    struct stream_create_request request = {.flags = flags, .priority = priority};
    CUresult result =
        call_create(call, HANDLE_STREAM, &stream->item, CALL_stream_create, &request, sizeof request);
    if (result != CUDA_SUCCESS)
        free(stream);
    *number = request.stream;
    return result;
}

CUresult runtime_cuStreamCreateWithPriority(CUstream *phStream, unsigned int flags, int priority)
{
    struct call call = {0};
    uint64_t number;
    if (!phStream)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = create(&call, flags, priority, &number);
    if (result == CUDA_SUCCESS)
        *phStream = (CUstream)public_handle(call.session, HANDLE_STREAM, number);
    return result;
}

CUresult runtime_cuStreamCreate(CUstream *phStream, unsigned int Flags)
{
    return runtime_cuStreamCreateWithPriority(phStream, Flags, 0);
}

/* Take a handle out of the table; NULL when another thread was faster. */
static void *drop(struct call *call, enum handle_kind kind, uint64_t number)
{
    pthread_mutex_lock(&call->session->table_lock);
    void *object = handle_drop(&call->session->handles, number, kind);
    /* Under the lock: the number must not reach the worker anew before its end does. */
    struct bytes request = {&number, sizeof number}, none = {NULL, 0};
    if (object)
        session_send(call->session, kind == HANDLE_STREAM ? CALL_stream_destroy : CALL_event_destroy, request, none);
    pthread_mutex_unlock(&call->session->table_lock);
    return object;
}

static CUresult destroy(enum handle_kind kind, const void *handle)
{
    struct call call = {0};
    uint64_t number;
    CUresult result = call_handle(&call, kind, handle, &number);
    if (result != CUDA_SUCCESS)
        return result;
    void *object = drop(&call, kind, number);
    free(object);
    return object ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult runtime_cuStreamDestroy_v2(CUstream hStream)
{
    return destroy(HANDLE_STREAM, hStream);
}

CUresult runtime_cuEventDestroy_v2(CUevent hEvent)
{
    return destroy(HANDLE_EVENT, hEvent);
}

CUresult runtime_cuEventCreate(CUevent *phEvent, unsigned int Flags)
{
    const unsigned known = CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING;
    struct event_create_request request = {.flags = Flags};
    struct call call = {0};
    if (!phEvent || Flags & ~(known | CU_EVENT_INTERPROCESS))
        return CUDA_ERROR_INVALID_VALUE;
    if (Flags & CU_EVENT_INTERPROCESS)
        return CUDA_ERROR_NOT_SUPPORTED;
    struct item *item = calloc(1, sizeof *item);
    if (!item)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult result = call_create(&call, HANDLE_EVENT, item, CALL_event_create, &request, sizeof request);
    if (result != CUDA_SUCCESS)
        free(item);
    else
        *phEvent = (CUevent)public_handle(call.session, HANDLE_EVENT, request.event);
    return result;
}

/* --- a thread's own default stream: one per session, made at first use, ended with the thread --- */

struct own_stream {
    struct own_stream *next;
    struct session *session;
    uint64_t number;
};

static pthread_key_t own_key;
static pthread_once_t own_once = PTHREAD_ONCE_INIT;

static void end_own_streams(void *list)
{
    struct own_stream *own = list;
    while (own) {
        struct own_stream *next = own->next;
        struct call call = {.session = own->session};
        free(drop(&call, HANDLE_STREAM, own->number));
        free(own);
        own = next;
    }
}

static void make_own_key(void)
{
    pthread_key_create(&own_key, end_own_streams);
}

void stream_forget(void)
{
    pthread_once(&own_once, make_own_key);
    pthread_setspecific(own_key, NULL);
}

/* The calling thread's own default stream in this session. */
static CUresult stream_of_thread(struct session *session, uint64_t *stream)
{
    pthread_once(&own_once, make_own_key);
    struct own_stream *first = pthread_getspecific(own_key), *own = first;
    struct call call = {.session = session};
    while (own && (own->session != session || !call_live(&call, HANDLE_STREAM, own->number)))
        own = own->next;
    if (own) {
        *stream = own->number;
        return CUDA_SUCCESS;
    }
    own = calloc(1, sizeof *own);
    if (!own)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult result = create(&call, CU_STREAM_DEFAULT, 0, &own->number);
    if (result != CUDA_SUCCESS) {
        free(own);
        return result;
    }
    *own = (struct own_stream){.next = first, .session = session, .number = own->number};
    pthread_setspecific(own_key, own);
    *stream = own->number;
    return CUDA_SUCCESS;
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

CUresult stream_wait(struct session *session, uint64_t stream)
{
    struct cuStreamSynchronize_request message = {.hStream = stream};
    struct bytes request = {&message, sizeof message}, none = {NULL, 0};
    size_t got;
    return cuda_result(session_ask(session, CALL_cuStreamSynchronize, request, none, NULL, 0, &got));
}

/* --- calls on two sessions --- */

/* An event of another device: there is no wait between devices, so the program waits here. */
static CUresult wait_here(CUevent event)
{
    struct call other = {0};
    struct cuEventSynchronize_request request;
    CUresult result = call_handle(&other, HANDLE_EVENT, event, &request.hEvent);
    if (result != CUDA_SUCCESS)
        return result;
    return call_ask(&other, CALL_cuEventSynchronize, &request, sizeof request, NULL, 0, NULL, 0);
}

CUresult runtime_cuStreamWaitEvent(CUstream hStream, CUevent hEvent, unsigned int Flags, bool per_thread)
{
    struct cuStreamWaitEvent_request request = {.Flags = Flags};
    struct call call = {0};
    CUresult result = call_stream(&call, hStream, per_thread, &request.hStream);
    if (result != CUDA_SUCCESS)
        return result;
    result = call_handle(&call, HANDLE_EVENT, hEvent, &request.hEvent);
    if (result == CUDA_ERROR_INVALID_HANDLE)
        return wait_here(hEvent);
    if (result != CUDA_SUCCESS)
        return result;
    return call_send(&call, CALL_cuStreamWaitEvent, &request, sizeof request, NULL, 0);
}

/* --- what the runtime knows of a stream --- */

static CUresult look(CUstream handle, bool per_thread, struct call *call, struct stream *stream, uint64_t *number)
{
    *stream = (struct stream){0};
    CUresult result = call_stream(call, handle, per_thread, number);
    if (result != CUDA_SUCCESS || *number == 0)
        return result;
    pthread_mutex_lock(&call->session->table_lock);
    const struct stream *found = handle_get(&call->session->handles, *number, HANDLE_STREAM);
    if (found)
        *stream = *found;
    pthread_mutex_unlock(&call->session->table_lock);
    return found ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult runtime_cuStreamGetPriority(CUstream hStream, int *priority, bool per_thread)
{
    struct call call = {0};
    struct stream stream;
    uint64_t number;
    CUresult result = priority ? look(hStream, per_thread, &call, &stream, &number) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *priority = stream.priority;
    return result;
}

CUresult runtime_cuStreamGetFlags(CUstream hStream, unsigned int *flags, bool per_thread)
{
    struct call call = {0};
    struct stream stream;
    uint64_t number;
    CUresult result = flags ? look(hStream, per_thread, &call, &stream, &number) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *flags = stream.flags;
    return result;
}

CUresult runtime_cuStreamGetId(CUstream hStream, unsigned long long *streamId, bool per_thread)
{
    struct call call = {0};
    struct stream stream;
    uint64_t number;
    CUresult result = streamId ? look(hStream, per_thread, &call, &stream, &number) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *streamId = public_handle(call.session, HANDLE_NONE, number);
    return result;
}

CUresult runtime_cuStreamGetCtx(CUstream hStream, CUcontext *pctx, bool per_thread)
{
    struct call call = {0};
    struct stream stream;
    uint64_t number;
    CUresult result = pctx ? look(hStream, per_thread, &call, &stream, &number) : CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS)
        return result;
    if (number == 0)
        return runtime_cuCtxGetCurrent(pctx);
    *pctx = (CUcontext)public_handle(call.session, HANDLE_CONTEXT, stream.item.context);
    return CUDA_SUCCESS;
}

CUresult runtime_cuStreamGetDevice(CUstream hStream, CUdevice *device, bool per_thread)
{
    struct call call = {0};
    struct stream stream;
    uint64_t number;
    CUresult result = device ? look(hStream, per_thread, &call, &stream, &number) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *device = call.session->ordinal;
    return result;
}

CUresult runtime_cuProfilerStart(void)
{
    return CUDA_SUCCESS;
}

CUresult runtime_cuProfilerStop(void)
{
    return CUDA_SUCCESS;
}
