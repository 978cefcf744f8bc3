/* Streams and events. */
#include "runtime/cuda/stream.h"

#include <stdlib.h>

#include "gpupool_calls.h"
#include "gpupool_messages.h"
#include "wire/cuda/result.h"

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
        call_drop(own->session, HANDLE_STREAM, own->number, CALL_stream_destroy);
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

static CUresult create(struct call *call, uint64_t *number)
{
    struct stream_create_request request = {0};
    struct stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult result = call_create(call, HANDLE_STREAM, &stream->item, CALL_stream_create, &request, sizeof request);
    if (result != CUDA_SUCCESS)
        free(stream);
    *number = request.stream;
    return result;
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
    CUresult result = create(&call, &own->number);
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

CUresult stream_look(struct call *call, CUstream handle, bool per_thread, struct stream *stream, uint64_t *number)
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
