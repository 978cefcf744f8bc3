#include "worker/turn.h"

#include <stdlib.h>
#include <string.h>

#include "worker/clock.h"

#define PARKED_BYTES (256u << 10) /* of a session, in COST_SESSION; at least some of the largest records */
#define RECORD_AT RING_ALIGNMENT  /* where the record lies behind its head */

struct parked {
    struct parked *next;
    size_t bytes;
};

struct turns {
    struct parked *first, **last;
    size_t bytes;
    unsigned ordered; /* how many of them are TURN_ORDERED */
    uint64_t retry_ns; /* CLOCK_MONOTONIC */
};

bool turns_open(struct session *session)
{
    session->turns = calloc(1, sizeof *session->turns);
    if (session->turns)
        session->turns->last = &session->turns->first;
    return session->turns;
}

void turn_wait(struct session *session, uint64_t nanoseconds)
{
    session->turns->retry_ns = now_ns() + nanoseconds;
}

bool turn_come(struct session *session)
{
    uint64_t closed_ns = arbiter_closed_for(session->arbiter);
    if (closed_ns)
        turn_wait(session, closed_ns);
    return !closed_ns;
}

static struct record *record_of(struct parked *parked)
{
    return (struct record *)((unsigned char *)parked + RECORD_AT);
}

const struct record *turn_first(struct session *session)
{
    struct turns *turns = session->turns;
    return turns->first && now_ns() >= turns->retry_ns ? record_of(turns->first) : NULL;
}

static bool is_ordered(const struct session *session, const struct record *record)
{
    return session->api->services[record->call].turn == TURN_ORDERED;
}

void turn_done(struct session *session)
{
    struct turns *turns = session->turns;
    struct parked *done = turns->first;
    turns->ordered -= is_ordered(session, record_of(done));
    turns->bytes -= done->bytes;
    turns->first = done->next;
    if (!turns->first)
        turns->last = &turns->first;
    free(done);
}

bool turn_is_behind(const struct session *session, const struct record *record)
{
    const struct turns *turns = session->turns;
    if (!turns->first)
        return false;
    return session->api->services[record->call].turn != TURN_AHEAD || turns->ordered;
}

bool turn_add(struct session *session, const struct record *record)
{
    struct turns *turns = session->turns;
    size_t bytes = RECORD_AT + (record->bytes + RING_ALIGNMENT - 1) / RING_ALIGNMENT * RING_ALIGNMENT;
    if (turns->first && bytes > PARKED_BYTES - turns->bytes)
        return false;
    struct parked *parked = aligned_alloc(RING_ALIGNMENT, bytes);
    if (!parked)
        return false;
    *parked = (struct parked){.bytes = bytes};
    memcpy(record_of(parked), record, record->bytes);
    turns->ordered += is_ordered(session, record);
    turns->bytes += bytes;
    *turns->last = parked;
    turns->last = &parked->next;
    return true;
}

bool turns_any(const struct session *session)
{
    return session->turns->first;
}

uint64_t turns_wait(const struct session *session)
{
    uint64_t now = now_ns();
    if (!session->turns->first)
        return UINT64_MAX;
    return session->turns->retry_ns > now ? session->turns->retry_ns - now : 0;
}
