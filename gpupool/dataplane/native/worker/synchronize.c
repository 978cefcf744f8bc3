#include "worker/synchronize.h"

#include "wire/futex.h"
#include "worker/clock.h"
#include "worker/object.h"
#include "worker/span.h"
#include "worker/waiter.h"

#define LOOK_NS 15000 /* about what handing over to another thread costs */

static enum result query(struct session *session, struct object *object)
{
    if (object->kind == HANDLE_EVENT)
        return session->backend->event_query(session->device, object->event);
    return session->backend->stream_query(session->device, object->stream);
}

/* Look a little longer than once: short work is done before another thread could wake. */
static enum result look(struct session *session, struct object *object)
{
    uint64_t until = now_ns() + LOOK_NS;
    enum result result;
    while ((result = query(session, object)) == RESULT_NOT_READY && now_ns() < until)
        cpu_relax();
    return result;
}

static enum result wait_object(struct session *session, struct job *job)
{
    if (job->object->kind == HANDLE_EVENT)
        return session->backend->event_wait(session->device, job->object->event);
    return session->backend->stream_wait(session->device, job->object->stream);
}

static enum result wait_device(struct session *session, struct job *job)
{
    (void)job;
    return session->backend->wait(session->device);
}

static enum result hand_over(struct session *session, const struct job *job, struct reply *reply)
{
    if (job->object)
        atomic_fetch_add(&job->object->references, 1);
    if (waiters_add(session->waiters, job)) {
        reply->later = true;
        return RESULT_OK;
    }
    if (job->object)
        object_release(session, job->object);
    return RESULT_OUT_OF_MEMORY;
}

enum result answer_after(struct session *session, const struct record *record, struct reply *reply,
                      struct object *object, uint32_t bytes)
{
    spans_close(session);
    enum result result = look(session, object);
    if (result != RESULT_NOT_READY && bytes == 0)
        return result;
    if (result != RESULT_NOT_READY) {
        slot_answer(&session->ring, record, result, NULL, bytes);
        reply->later = true;
        return result;
    }
    struct job job = {.record = *record, .wait = wait_object, .object = object, .bytes = bytes};
    return hand_over(session, &job, reply);
}

enum result answer_after_all(struct session *session, const struct record *record, struct reply *reply)
{
    spans_close(session);
    struct job job = {.record = *record, .wait = wait_device};
    return hand_over(session, &job, reply);
}
