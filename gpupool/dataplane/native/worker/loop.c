/* Takes records, serves them, answers. */
#include <stdlib.h>

#include "worker/cuda/module.h"
#include "worker/session.h"
#include "worker/span.h"

#define BUSY_WAIT_MS 20u     /* while device time is still to be charged */
#define IDLE_WAIT_MS 60000u  /* a hang-up wakes earlier */

struct service {
    CUresult (*serve)(SERVE_ARGUMENTS);
    uint32_t request_bytes;
    bool answered;
};

#include "worker_dispatch.inc"

/* Whether the record may be what it says it is. */
static bool is_sound(const struct record *record)
{
    if (record->call == 0 || record->call >= CALL_COUNT)
        return false;
    const struct service *service = &services[record->call];
    bool answered = record->slot < RING_SLOTS;
    return answered == service->answered && record->bytes - sizeof *record >= service->request_bytes;
}

static void serve_one_way(struct session *session, const struct record *record, struct reply *reply)
{
    CUresult result = services[record->call].serve(session, record, reply);
    if (result != CUDA_SUCCESS && session->deferred == CUDA_SUCCESS)
        session->deferred = result;
}

/* Calls that do their work though an earlier call failed: a program counts on it that the device is done. */
static bool waits(const struct record *record)
{
    return record->call == CALL_cuCtxSynchronize || record->call == CALL_cuStreamSynchronize ||
           record->call == CALL_cuEventSynchronize || record->call == CALL_staging_wait;
}

static void serve_answered(struct session *session, const struct record *record, struct reply *reply)
{
    CUresult earlier = session->deferred, result = CUDA_SUCCESS;
    if (earlier == CUDA_SUCCESS || waits(record))
        result = services[record->call].serve(session, record, reply);
    /* What was sent for this load is not part of the next one. */
    else if (record->call == CALL_module_load)
        image_drop(session);
    session->deferred = CUDA_SUCCESS;
    if (earlier != CUDA_SUCCESS)
        result = earlier;
    if (!reply->later)
        slot_answer(&session->ring, record, result, reply->data, result == CUDA_SUCCESS ? reply->bytes : 0);
}

static void serve(struct session *session, const struct record *record, struct reply *reply)
{
    reply->bytes = 0;
    reply->later = false;
    if (services[record->call].answered)
        serve_answered(session, record, reply);
    else
        serve_one_way(session, record, reply);
}

static void rest(struct session *session)
{
    spans_close(session);
    bool busy = spans_harvest(session);
    ring_wait_record(&session->ring, busy ? BUSY_WAIT_MS : IDLE_WAIT_MS);
}

bool loop_run(struct session *session)
{
    struct record *record = aligned_alloc(RING_ALIGNMENT, RING_RECORD_LIMIT);
    struct reply *reply = malloc(sizeof *reply);
    bool sound = true;
    while (record && reply && !atomic_load(&session->ended)) {
        enum ring_status status = ring_take(&session->ring, record);
        if (status == RING_EMPTY) {
            rest(session);
            continue;
        }
        if (status == RING_BROKEN || !is_sound(record)) {
            sound = false;
            break;
        }
        serve(session, record, reply);
    }
    free(record);
    free(reply);
    return sound;
}
