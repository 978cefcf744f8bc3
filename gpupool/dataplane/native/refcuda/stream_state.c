/* What programs ask of streams. */
#include <stdlib.h>

#include "refcuda/api.h"
#include "refcuda/context.h"
#include "refcuda/current.h"
#include "refcuda/driver.h"
#include "refcuda/event.h"
#include "refcuda/queue.h"
#include "refcuda/stream.h"
#include "refcuda/thread.h"

API CUresult cuStreamCreateWithPriority(CUstream *out, unsigned int flags, int priority)
{
    HELD struct context *context = NULL;
    struct stream *stream;
    CUstream handle;
    CUresult result = context_current(&context);
    if (result)
        return result;
    if (!out || flags & ~(unsigned)CU_STREAM_NON_BLOCKING)
        return refuse(CUDA_ERROR_INVALID_VALUE, "there are no stream flags %#x", flags);
    priority = priority > LEAST_PRIORITY ? LEAST_PRIORITY : priority;
    priority = priority < GREATEST_PRIORITY ? GREATEST_PRIORITY : priority;
    if (!(stream = stream_new(context, flags, priority)))
        return context_refusal(context);
    if (!(handle = object_publish(&stream->object))) {
        stream_close(stream);
        object_release(stream);
        return context_refusal(context);
    }
    *out = handle;
    return CUDA_SUCCESS;
}

API CUresult cuStreamCreate(CUstream *out, unsigned int flags)
{
    return cuStreamCreateWithPriority(out, flags, LEAST_PRIORITY);
}

API CUresult cuStreamDestroy_v2(CUstream handle)
{
    HELD struct stream *stream = NULL;
    CUresult result = driver_ready();
    if (result)
        return result;
    if (!(stream = object_retire(KIND_STREAM, handle)))
        return refuse(CUDA_ERROR_INVALID_HANDLE, "no stream has the handle %p", (void *)handle);
    stream_close(stream);
    return CUDA_SUCCESS;
}
ALSO(cuStreamDestroy, cuStreamDestroy_v2)

/* Work that does nothing: its place is what counts. */
static CUresult marker_run(struct work *work)
{
    (void)work;
    return CUDA_SUCCESS;
}

static void marker_dispose(struct work *work)
{
    free(work);
}

static struct work *marker_new(void)
{
    struct work *work = calloc(1, sizeof *work);
    if (work)
        *work = (struct work){.run = marker_run, .dispose = marker_dispose};
    return work;
}

/* A marker in the legacy stream also waits for every blocking stream, as synchronizing with that has to. */
static CUresult synchronize(enum null_stream null, CUstream handle)
{
    HELD struct stream *stream = NULL;
    struct work *marker;
    CUresult result = stream_acquire(handle, null, &stream);
    if (result)
        return result;
    if (!(marker = marker_new()))
        return CUDA_ERROR_OUT_OF_MEMORY;
    return stream_run(stream, marker);
}
TWIN(cuStreamSynchronize, _ptsz, synchronize, (CUstream handle), handle)

/* The lock is held. */
static bool idle(const struct stream *stream)
{
    bool blocking = !(stream->flags & CU_STREAM_NON_BLOCKING);
    if (stream->completed < stream->submitted)
        return false;
    if (stream->closed || !blocking || stream != stream->context->legacy)
        return true;
    for (struct stream *other = stream->context->streams; other; other = other->next)
        if (!(other->flags & CU_STREAM_NON_BLOCKING) && other->completed < other->submitted)
            return false;
    return true;
}

static CUresult query(enum null_stream null, CUstream handle)
{
    HELD struct stream *stream = NULL;
    CUresult result = stream_acquire(handle, null, &stream);
    if (result)
        return result;
    pthread_mutex_lock(&streams_lock);
    result = idle(stream) ? stream->failure : CUDA_ERROR_NOT_READY;
    pthread_mutex_unlock(&streams_lock);
    return result;
}
TWIN(cuStreamQuery, _ptsz, query, (CUstream handle), handle)

static CUresult wait_event(enum null_stream null, CUstream handle, CUevent event, unsigned int flags)
{
    HELD struct stream *stream = NULL;
    struct place place = {0};
    struct work *marker;
    CUresult result = stream_acquire(handle, null, &stream);
    if (result || (result = event_place(event, &place)))
        return result;
    if (flags & ~(unsigned)CU_EVENT_WAIT_EXTERNAL)
        result = CUDA_ERROR_INVALID_VALUE;
    else if (!(marker = marker_new()))
        result = CUDA_ERROR_OUT_OF_MEMORY;
    else if (place_done(&place) || !work_wait_for(marker, &place)) {
        result = place_done(&place) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
        free(marker);
    } else
        result = stream_submit(stream, marker, NULL);
    place_drop(&place);
    return result;
}
TWIN(cuStreamWaitEvent, _ptsz, wait_event, (CUstream handle, CUevent event, unsigned int flags), handle, event, flags)

static CUresult get_flags(enum null_stream null, CUstream handle, unsigned int *flags)
{
    HELD struct stream *stream = NULL;
    CUresult result = stream_acquire(handle, null, &stream);
    if (result)
        return result;
    if (!flags)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = stream->flags;
    return CUDA_SUCCESS;
}
TWIN(cuStreamGetFlags, _ptsz, get_flags, (CUstream handle, unsigned int *flags), handle, flags)

static CUresult get_priority(enum null_stream null, CUstream handle, int *priority)
{
    HELD struct stream *stream = NULL;
    CUresult result = stream_acquire(handle, null, &stream);
    if (result)
        return result;
    if (!priority)
        return CUDA_ERROR_INVALID_VALUE;
    *priority = stream->priority;
    return CUDA_SUCCESS;
}
TWIN(cuStreamGetPriority, _ptsz, get_priority, (CUstream handle, int *priority), handle, priority)

/* The stream's context, as long as that is not ending. */
static CUresult context_of(struct stream *stream, CUcontext *handle, CUdevice *device)
{
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&streams_lock);
    if (stream->closed)
        result = CUDA_ERROR_INVALID_HANDLE;
    else {
        *handle = stream->context->object.handle;
        *device = stream->context->device->ordinal;
    }
    pthread_mutex_unlock(&streams_lock);
    return result;
}

static CUresult get_context(enum null_stream null, CUstream handle, CUcontext *out)
{
    HELD struct stream *stream = NULL;
    CUdevice device;
    CUresult result = stream_acquire(handle, null, &stream);
    if (result)
        return result;
    return out ? context_of(stream, out, &device) : CUDA_ERROR_INVALID_VALUE;
}
TWIN(cuStreamGetCtx, _ptsz, get_context, (CUstream handle, CUcontext *context), handle, context)

/* Also tells the green context, a part of a device's units; there are none here. */
static CUresult get_contexts(enum null_stream null, CUstream handle, CUcontext *out, void **green)
{
    CUresult result = get_context(null, handle, out);
    if (!result && green)
        *green = NULL;
    return result;
}
TWIN(cuStreamGetCtx_v2, _ptsz, get_contexts, (CUstream handle, CUcontext *context, void **green), handle, context,
     green)

static CUresult get_device(enum null_stream null, CUstream handle, CUdevice *out)
{
    HELD struct stream *stream = NULL;
    CUcontext context;
    CUresult result = stream_acquire(handle, null, &stream);
    if (result)
        return result;
    return out ? context_of(stream, &context, out) : CUDA_ERROR_INVALID_VALUE;
}
TWIN(cuStreamGetDevice, _ptsz, get_device, (CUstream handle, CUdevice *device), handle, device)

static CUresult get_id(enum null_stream null, CUstream handle, unsigned long long *id)
{
    HELD struct stream *stream = NULL;
    CUresult result = stream_acquire(handle, null, &stream);
    if (result)
        return result;
    if (!id)
        return CUDA_ERROR_INVALID_VALUE;
    *id = (uintptr_t)stream;
    return CUDA_SUCCESS;
}
TWIN(cuStreamGetId, _ptsz, get_id, (CUstream handle, unsigned long long *id), handle, id)
