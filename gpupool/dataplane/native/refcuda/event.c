#include "refcuda/event.h"

#include <stdlib.h>
#include <time.h>

#include "refcuda/api.h"
#include "refcuda/context.h"
#include "refcuda/current.h"
#include "refcuda/driver.h"
#include "refcuda/queue.h"
#include "refcuda/thread.h"

/* One recording: shared by the event, which may be recorded again before, and the work that notes the time. */
struct mark {
    atomic_uint references;
    atomic_llong nanoseconds;
};

struct event {
    struct object object;
    unsigned flags;
    pthread_mutex_t lock;
    struct place place; /* of the last recording */
    struct mark *mark;  /* of the last recording; NULL: none */
};

struct recording {
    struct work work;
    struct mark *mark;
};

static void mark_release(struct mark *mark)
{
    if (mark && atomic_fetch_sub(&mark->references, 1) == 1)
        free(mark);
}

static void event_destroy(struct object *object)
{
    struct event *event = (struct event *)object;
    place_drop(&event->place);
    mark_release(event->mark);
    pthread_mutex_destroy(&event->lock);
    free(event);
}

static CUresult event_acquire(CUevent handle, struct event **event)
{
    CUresult result = driver_ready();
    if (result)
        return result;
    *event = object_acquire(KIND_EVENT, handle);
    return *event ? CUDA_SUCCESS : refuse(CUDA_ERROR_INVALID_HANDLE, "no event has the handle %p", (void *)handle);
}

static void copy_place(struct event *event, struct place *place)
{
    pthread_mutex_lock(&event->lock);
    place_copy(place, &event->place);
    pthread_mutex_unlock(&event->lock);
}

CUresult event_place(CUevent handle, struct place *place)
{
    HELD struct event *event = NULL;
    CUresult result = event_acquire(handle, &event);
    if (!result)
        copy_place(event, place);
    return result;
}

API CUresult cuEventCreate(CUevent *out, unsigned int flags)
{
    HELD struct context *context = NULL;
    struct event *event;
    CUevent handle;
    CUresult result = context_current(&context);
    if (result)
        return result;
    if (!out || flags & ~(unsigned)(CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING))
        return refuse(CUDA_ERROR_INVALID_VALUE, "event flags are %#x; allowed: 0 to 3", flags);
    if (!(event = calloc(1, sizeof *event)))
        return CUDA_ERROR_OUT_OF_MEMORY;
    object_init(&event->object, KIND_EVENT, context, event_destroy);
    pthread_mutex_init(&event->lock, NULL);
    event->flags = flags;
    if (!(handle = object_publish(&event->object))) {
        object_release(event);
        return context_refusal(context);
    }
    *out = handle;
    return CUDA_SUCCESS;
}

API CUresult cuEventDestroy_v2(CUevent handle)
{
    HELD struct event *event = NULL;
    CUresult result = driver_ready();
    if (result)
        return result;
    event = object_retire(KIND_EVENT, handle);
    return event ? CUDA_SUCCESS : refuse(CUDA_ERROR_INVALID_HANDLE, "no event has the handle %p", (void *)handle);
}
ALSO(cuEventDestroy, cuEventDestroy_v2)

static CUresult recording_run(struct work *work)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    atomic_store(&((struct recording *)work)->mark->nanoseconds, now.tv_sec * 1000000000LL + now.tv_nsec);
    return CUDA_SUCCESS;
}

static void recording_dispose(struct work *work)
{
    mark_release(((struct recording *)work)->mark);
    free(work);
}

/* With two references to its mark: its own and the caller's. */
static struct recording *recording_new(void)
{
    struct recording *recording = calloc(1, sizeof *recording);
    if (!recording || !(recording->mark = calloc(1, sizeof *recording->mark))) {
        free(recording);
        return NULL;
    }
    atomic_init(&recording->mark->references, 2);
    recording->work = (struct work){.run = recording_run, .dispose = recording_dispose};
    return recording;
}

/* The event's lock is held, so that recordings of two threads do not mix. */
static CUresult submit(struct event *event, struct stream *stream)
{
    struct recording *recording = recording_new();
    struct mark *mark;
    struct place place;
    CUresult result;
    if (!recording)
        return CUDA_ERROR_OUT_OF_MEMORY;
    mark = recording->mark;
    if ((result = stream_submit(stream, &recording->work, &place))) {
        mark_release(mark);
        return result;
    }
    place_drop(&event->place);
    mark_release(event->mark);
    event->place = place;
    event->mark = mark;
    return CUDA_SUCCESS;
}

static CUresult record_with_flags(enum null_stream null, CUevent handle, CUstream stream_handle, unsigned int flags)
{
    HELD struct event *event = NULL;
    HELD struct stream *stream = NULL;
    CUresult result = event_acquire(handle, &event);
    if (result || (result = stream_acquire(stream_handle, null, &stream)))
        return result;
    if (flags & ~(unsigned)CU_EVENT_RECORD_EXTERNAL)
        return CUDA_ERROR_INVALID_VALUE;
    if (event->object.owner != stream->object.owner)
        return refuse(CUDA_ERROR_INVALID_HANDLE, "event and stream are of two contexts");
    pthread_mutex_lock(&event->lock);
    result = submit(event, stream);
    pthread_mutex_unlock(&event->lock);
    return result;
}
TWIN(cuEventRecordWithFlags, _ptsz, record_with_flags, (CUevent event, CUstream stream, unsigned int flags), event,
     stream, flags)

static CUresult record(enum null_stream null, CUevent event, CUstream stream)
{
    return record_with_flags(null, event, stream, CU_EVENT_RECORD_DEFAULT);
}
TWIN(cuEventRecord, _ptsz, record, (CUevent event, CUstream stream), event, stream)

API CUresult cuEventQuery(CUevent handle)
{
    struct place place = {0};
    CUresult result = event_place(handle, &place);
    if (result)
        return result;
    result = place_done(&place) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
    place_drop(&place);
    return result;
}

API CUresult cuEventSynchronize(CUevent handle)
{
    struct place place = {0};
    CUresult result = event_place(handle, &place);
    if (result)
        return result;
    result = place_wait(&place);
    place_drop(&place);
    return result;
}

/* When the event was reached. */
static CUresult event_time(CUevent handle, long long *nanoseconds)
{
    HELD struct event *event = NULL;
    CUresult result = event_acquire(handle, &event);
    if (result)
        return result;
    if (event->flags & CU_EVENT_DISABLE_TIMING)
        return refuse(CUDA_ERROR_INVALID_HANDLE, "the event was created without timing");
    pthread_mutex_lock(&event->lock);
    if (!event->mark)
        result = refuse(CUDA_ERROR_INVALID_HANDLE, "the event was never recorded");
    else if (!place_done(&event->place))
        result = CUDA_ERROR_NOT_READY;
    else
        *nanoseconds = atomic_load(&event->mark->nanoseconds);
    pthread_mutex_unlock(&event->lock);
    return result;
}

API CUresult cuEventElapsedTime_v2(float *milliseconds, CUevent start, CUevent end)
{
    long long from = 0, to = 0;
    CUresult result = event_time(start, &from), second = event_time(end, &to);
    if (result && result != CUDA_ERROR_NOT_READY)
        return result;
    if (second || result)
        return second ? second : result;
    if (!milliseconds)
        return CUDA_ERROR_INVALID_VALUE;
    *milliseconds = (float)((double)(to - from) / 1e6);
    return CUDA_SUCCESS;
}
ALSO(cuEventElapsedTime, cuEventElapsedTime_v2)
