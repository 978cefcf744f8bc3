#include "worker/loop.h"

#include <stdlib.h>

#include "worker/span.h"

#define BUSY_WAIT_MS 20u     /* while device time is still to be charged */
#define IDLE_WAIT_MS 60000u  /* a hang-up wakes earlier */

/* Whether the record may be what it says it is. */
static bool is_sound(const struct session *session, const struct record *record)
{
    if (record->call >= session->api->service_count || !session->api->services[record->call].serve)
        return false;
    const struct service *service = &session->api->services[record->call];
    bool answered = record->slot < RING_SLOTS;
    return answered == service->answered && record->bytes - sizeof *record >= service->request_bytes;
}

/* Serve a call whose payload is as long as its request says. */
static enum result run(struct session *session, const struct record *record, struct reply *reply)
{
    const struct service *service = &session->api->services[record->call];
    uint64_t wanted = service->payload ? service->payload(record + 1) : 0;
    if (wanted == PAYLOAD_ANY || wanted == payload_bytes(record, service->request_bytes))
        return service->serve(session, record, reply);
    session->api->skip(session, record->call);
    return RESULT_INVALID_VALUE;
}

static void serve_one_way(struct session *session, const struct record *record, struct reply *reply)
{
    enum result result = run(session, record, reply);
    if (result != RESULT_OK && session->deferred == RESULT_OK)
        session->deferred = result;
}

static void serve_answered(struct session *session, const struct record *record, struct reply *reply)
{
    enum result earlier = session->deferred, result = RESULT_OK;
    if (earlier == RESULT_OK || session->api->services[record->call].waits)
        result = run(session, record, reply);
    else
        session->api->skip(session, record->call);
    session->deferred = RESULT_OK;
    if (earlier != RESULT_OK)
        result = earlier;
    if (!reply->later)
        slot_answer(&session->ring, record, result, reply->data, result == RESULT_OK ? reply->bytes : 0);
}

static void serve(struct session *session, const struct record *record, struct reply *reply)
{
    reply->bytes = 0;
    reply->later = false;
    if (session->api->services[record->call].answered)
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
        if (status == RING_BROKEN || !is_sound(session, record)) {
            sound = false;
            break;
        }
        serve(session, record, reply);
    }
    free(record);
    free(reply);
    return sound;
}
