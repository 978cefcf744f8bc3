#include "worker/loop.h"

#include <stdlib.h>
#include <time.h>

#include "worker/span.h"
#include "worker/turn.h"
#include "worker/watch.h"

#define BUSY_WAIT_NS 20000000ull    /* while device time is still to be charged */
#define IDLE_WAIT_NS 60000000000ull /* a hang-up wakes earlier */

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

/* Answer, with the error of an earlier call that no answer has carried yet in place of a result. */
static void answer(struct session *session, const struct record *record, const struct reply *reply,
                   enum result result)
{
    if (session->deferred != RESULT_OK)
        result = session->deferred;
    session->deferred = RESULT_OK;
    if (!reply->later)
        slot_answer(&session->ring, record, result, reply->data, result == RESULT_OK ? reply->bytes : 0);
}

static void serve_answered(struct session *session, const struct record *record, struct reply *reply)
{
    enum result result = RESULT_OK;
    if (session->deferred == RESULT_OK || session->api->services[record->call].waits)
        result = run(session, record, reply);
    else
        session->api->skip(session, record->call);
    if (!reply->parked)
        answer(session, record, reply, result);
}

/* Serve a record; false when its turn has not come. */
static bool serve(struct session *session, const struct record *record, struct reply *reply)
{
    reply->bytes = 0;
    reply->later = reply->parked = false;
    if (session->api->services[record->call].answered)
        serve_answered(session, record, reply);
    else
        serve_one_way(session, record, reply);
    return !reply->parked;
}

static void serve_parked(struct session *session, struct reply *reply)
{
    const struct record *first;
    while (!atomic_load(&session->ended) && (first = turn_first(session)) && serve(session, first, reply))
        turn_done(session);
}

/* Serve what was just taken, or park it; false while there is no room for it. */
static bool accept_record(struct session *session, const struct record *record, struct reply *reply)
{
    if (turns_any(session) && session->api->services[record->call].turn == TURN_PROGRESS) {
        reply->later = false;
        reply->bytes = 0;
        answer(session, record, reply, RESULT_NOT_READY);
        return true;
    }
    if (!turn_is_behind(session, record) && serve(session, record, reply))
        return true;
    return turn_add(session, record);
}

static uint64_t at_most(uint64_t wait, uint64_t most)
{
    return wait < most ? wait : most;
}

/* Nothing is to be done until a record comes, or the turn of one that is parked. */
static void rest(struct session *session)
{
    spans_close(session);
    bool busy = spans_harvest(session);
    ring_wait_record(&session->ring, at_most(turns_wait(session), busy ? BUSY_WAIT_NS : IDLE_WAIT_NS));
}

/* The record that was taken has no room among those that are parked. */
static void rest_full(struct session *session)
{
    struct timespec wait = {.tv_nsec = (long)at_most(turns_wait(session), BUSY_WAIT_NS)};
    spans_close(session);
    nanosleep(&wait, NULL);
}

/* Tell an agent that froze the session when the device has none of its work. */
static void drain(struct session *session)
{
    spans_close(session);
    if (arbiter_frozen(session->arbiter) && !spans_harvest(session))
        watch_drained(session);
}

/* Take the next record; false when there is none, `*sound` is false when the runtime broke the protocol. */
static bool take(struct session *session, struct record *record, bool *sound)
{
    enum ring_status status = ring_take(&session->ring, record);
    *sound = status == RING_EMPTY || (status == RING_RECORD && is_sound(session, record));
    return *sound && status == RING_RECORD;
}

static bool run_loop(struct session *session, struct record *record, struct reply *reply)
{
    bool taken = false, sound = true;
    while (sound && !atomic_load(&session->ended)) {
        if (atomic_load_explicit(&session->freezing, memory_order_relaxed))
            drain(session);
        serve_parked(session, reply);
        if (!taken && !(taken = take(session, record, &sound))) {
            if (sound)
                rest(session);
            continue;
        }
        taken = !accept_record(session, record, reply);
        if (taken)
            rest_full(session);
    }
    return sound;
}

bool loop_run(struct session *session)
{
    struct record *record = aligned_alloc(RING_ALIGNMENT, RING_RECORD_LIMIT);
    struct reply *reply = malloc(sizeof *reply);
    bool sound = record && reply ? run_loop(session, record, reply) : true;
    free(record);
    free(reply);
    return sound;
}
