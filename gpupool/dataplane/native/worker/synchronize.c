#include "worker/synchronize.h"

#include "wire/futex.h"
#include "worker/clock.h"
#include "worker/span.h"
#include "worker/waiter.h"

#define LOOK_NS 15000 /* about what handing over to another thread costs */

static CUresult query(struct session *session, struct object *object)
{
    if (object->kind == HANDLE_EVENT)
        return session->driver.cuEventQuery(object->event);
    return session->driver.cuStreamQuery(object->stream);
}

/* Look a little longer than once: short work is done before another thread could wake. */
static CUresult look(struct session *session, struct object *object)
{
    uint64_t until = now_ns() + LOOK_NS;
    CUresult result;
    while ((result = query(session, object)) == CUDA_ERROR_NOT_READY && now_ns() < until)
        cpu_relax();
    return result;
}

static CUresult wait_object(struct session *session, struct job *job)
{
    if (job->object->kind == HANDLE_EVENT)
        return session->driver.cuEventSynchronize(job->object->event);
    return session->driver.cuStreamSynchronize(job->object->stream);
}

static CUresult wait_context(struct session *session, struct job *job)
{
    (void)job;
    return session->driver.cuCtxSynchronize();
}

static CUresult hand_over(struct session *session, const struct job *job, struct reply *reply)
{
    if (job->object)
        atomic_fetch_add(&job->object->references, 1);
    if (waiters_add(session->waiters, job)) {
        reply->later = true;
        return CUDA_SUCCESS;
    }
    if (job->object)
        object_release(session, job->object);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult answer_after(struct session *session, const struct record *record, struct reply *reply,
                      struct object *object, uint32_t bytes)
{
    spans_close(session);
    CUresult result = look(session, object);
    if (result != CUDA_ERROR_NOT_READY && bytes == 0)
        return result;
    if (result != CUDA_ERROR_NOT_READY) {
        slot_answer(&session->ring, record, result, NULL, bytes);
        reply->later = true;
        return result;
    }
    struct job job = {.record = *record, .wait = wait_object, .object = object, .bytes = bytes};
    return hand_over(session, &job, reply);
}

CUresult serve_cuStreamSynchronize(SERVE_ARGUMENTS)
{
    const struct cuStreamSynchronize_request *request = (const void *)(record + 1);
    struct object *stream = stream_object(session, request->hStream);
    return stream ? answer_after(session, record, reply, stream, 0) : CUDA_ERROR_INVALID_HANDLE;
}

CUresult serve_cuEventSynchronize(SERVE_ARGUMENTS)
{
    const struct cuEventSynchronize_request *request = (const void *)(record + 1);
    struct object *event = event_object(session, request->hEvent);
    return event ? answer_after(session, record, reply, event, 0) : CUDA_ERROR_INVALID_HANDLE;
}

CUresult serve_cuCtxSynchronize(SERVE_ARGUMENTS)
{
    spans_close(session);
    struct job job = {.record = *record, .wait = wait_context};
    return hand_over(session, &job, reply);
}
