#include "worker/span.h"

#include <stdlib.h>

#include "worker/clock.h"
#include "worker/turn.h"

#define SPANS 64u            /* measured runs in flight; more work joins the newest run of its stream */
#define PIECES 32u           /* most pieces of work in a span */
#define GATED_SPANS 2u       /* runs in flight below 100 % */
#define GATED_SPAN_NS 1000000u /* and their aimed length */
#define LOOK_LEAST_NS 50000u   /* until a look whether one of them has ended; twice as long each time ... */
#define LOOK_MOST_NS 1000000u  /* ... up to this, which the arbiter's credit makes up for */
#define FROZEN_NS 20000000u    /* until a look whether it is thawed */
#define REBASE_MS 1000.0f    /* float milliseconds are exact enough, and clocks agree, only near their origin */
#define TRIALS 16u           /* of the smallest piece of work */
#define EMPTY_MAX_NS 50000u  /* what that may measure at most */

struct span {
    struct event *start, *end;
    struct object *stream; /* NULL once the stream is destroyed */
    bool open;
    unsigned pieces;
    uint64_t opened_ns;
};

struct spans {
    struct span items[SPANS];
    unsigned first, count; /* a queue in order of submission */
    _Atomic uint64_t oldest_ns; /* when the first of them was opened, 0: there is none */
    struct stream *clock;        /* where nothing waits for the client's work */
    struct event *origin;        /* was reached at origin_ns of CLOCK_MONOTONIC */
    uint64_t origin_ns;
    uint64_t empty_ns;     /* what the events around the smallest piece of work measure */
    uint64_t piece_ns;     /* moving mean */
    uint64_t look_ns;      /* see LOOK_LEAST_NS */
};

/* Note how the device's clock and ours lie to each other now. */
static enum result anchor(struct session *session)
{
    struct spans *spans = session->spans;
    uint64_t before = now_ns();
    enum result result = session->backend->event_record(session->device, spans->origin, spans->clock);
    if (result == RESULT_OK)
        result = session->backend->event_wait(session->device, spans->origin);
    spans->origin_ns = before + (now_ns() - before) / 2;
    return result;
}

/* The device idles between a span's first event and its work, which comes later: measure how long. */
static enum result calibrate(struct session *session, uint64_t byte)
{
    struct spans *spans = session->spans;
    const struct backend *backend = session->backend;
    const struct fill zero = {.address = byte, .width = 1, .height = 1, .element_bytes = 1};
    const struct span *span = spans->items;
    float milliseconds[TRIALS];
    enum result result = RESULT_OK;
    for (unsigned trial = 0; trial < TRIALS && result == RESULT_OK; trial++) {
        backend->event_record(session->device, span->start, spans->clock);
        backend->fill(session->device, &zero, spans->clock);
        backend->event_record(session->device, span->end, spans->clock);
        backend->event_wait(session->device, span->end);
        result = backend->event_elapsed(session->device, span->start, span->end, &milliseconds[trial]);
    }
    if (result != RESULT_OK)
        return result;
    /* Others may use the device meanwhile: what they took must not become time nobody is charged. */
    spans->empty_ns = EMPTY_MAX_NS;
    for (unsigned trial = 0; trial < TRIALS; trial++)
        if (milliseconds[trial] * 1e6f < (float)spans->empty_ns)
            spans->empty_ns = (uint64_t)(milliseconds[trial] * 1e6f);
    return RESULT_OK;
}

static enum result make_events(struct session *session)
{
    struct spans *spans = session->spans;
    const struct backend *backend = session->backend;
    enum result result = backend->event_make(session->device, backend->timed, &spans->origin);
    for (unsigned index = 0; index < SPANS && result == RESULT_OK; index++) {
        result = backend->event_make(session->device, backend->timed, &spans->items[index].start);
        if (result == RESULT_OK)
            result = backend->event_make(session->device, backend->timed, &spans->items[index].end);
    }
    return result;
}

bool spans_open(struct session *session)
{
    const struct backend *backend = session->backend;
    uint64_t byte;
    session->spans = calloc(1, sizeof *session->spans);
    if (session->spans)
        session->spans->look_ns = LOOK_LEAST_NS;
    if (!session->spans || make_events(session) != RESULT_OK ||
        backend->stream_make(session->device, backend->independent, 0, &session->spans->clock) != RESULT_OK ||
        backend->allocate(session->device, 1, &byte) != RESULT_OK)
        return false;
    enum result result = calibrate(session, byte);
    backend->free(session->device, byte);
    return result == RESULT_OK && anchor(session) == RESULT_OK;
}

static void close_span(struct session *session, struct span *span)
{
    session->backend->event_record(session->device, span->end, span->stream->stream);
    span->stream->span = NULL;
    span->open = false;
}

static struct span *span_at(struct spans *spans, unsigned index)
{
    return &spans->items[(spans->first + index) % SPANS];
}

void spans_close(struct session *session)
{
    for (unsigned index = 0; index < session->spans->count; index++) {
        struct span *span = span_at(session->spans, index);
        if (span->open)
            close_span(session, span);
    }
}

void spans_forget(struct session *session, struct object *stream)
{
    for (unsigned index = 0; index < session->spans->count; index++) {
        struct span *span = span_at(session->spans, index);
        if (span->stream != stream)
            continue;
        if (span->open)
            close_span(session, span);
        span->stream = NULL;
    }
}

/* An event's CLOCK_MONOTONIC; false when the device does not tell. */
static bool time_of(struct session *session, struct event *event, uint64_t *time_ns)
{
    float milliseconds = 0;
    if (session->backend->event_elapsed(session->device, session->spans->origin, event, &milliseconds) != RESULT_OK)
        return false;
    *time_ns = session->spans->origin_ns + (uint64_t)(int64_t)((double)milliseconds * 1e6);
    return true;
}

static void charge(struct session *session, const struct span *span)
{
    struct spans *spans = session->spans;
    uint64_t from, to;
    if (!time_of(session, span->start, &from) || !time_of(session, span->end, &to) || to < from) {
        arbiter_charge(session->arbiter, span->opened_ns, now_ns());
        return;
    }
    /* The smallest was not so small. */
    if (to - from < spans->empty_ns)
        spans->empty_ns = to - from;
    if (span->pieces)
        spans->piece_ns = (spans->piece_ns * 3 + (to - from) / span->pieces) / 4;
    arbiter_charge(session->arbiter, from + spans->empty_ns, to);
    /* Spans from before the last rebase end before its origin. */
    if ((double)(int64_t)(to - spans->origin_ns) > REBASE_MS * 1e6)
        anchor(session);
}

/* Here for the thread that abandons them, and in the ledger for when this process is killed. */
static void set_oldest(struct session *session, uint64_t opened_ns)
{
    atomic_store(&session->spans->oldest_ns, opened_ns);
    ledger_set_in_flight(session->ledger, opened_ns);
}

static void take_first(struct session *session)
{
    struct spans *spans = session->spans;
    charge(session, &spans->items[spans->first]);
    spans->first = (spans->first + 1) % SPANS;
    spans->count--;
    set_oldest(session, spans->count ? spans->items[spans->first].opened_ns : 0);
}

bool spans_harvest(struct session *session)
{
    struct spans *spans = session->spans;
    while (spans->count) {
        struct span *span = &spans->items[spans->first];
        if (span->open || session->backend->event_query(session->device, span->end) == RESULT_NOT_READY)
            return true;
        take_first(session);
    }
    return false;
}

void spans_finish(struct session *session)
{
    struct spans *spans = session->spans;
    while (spans->count) {
        struct span *span = &spans->items[spans->first];
        if (span->open)
            close_span(session, span);
        session->backend->event_wait(session->device, span->end);
        take_first(session);
    }
}

void spans_abandon(struct session *session)
{
    uint64_t oldest = atomic_load(&session->spans->oldest_ns);
    if (!oldest)
        return;
    arbiter_charge(session->arbiter, oldest, now_ns());
    ledger_set_in_flight(session->ledger, 0);
}

static struct span *newest_of(struct spans *spans, const struct object *stream)
{
    for (unsigned index = spans->count; index-- > 0;)
        if (span_at(spans, index)->stream == stream)
            return span_at(spans, index);
    return NULL;
}

static struct span *new_span(struct session *session, struct object *stream)
{
    struct spans *spans = session->spans;
    struct span *span = span_at(spans, spans->count);
    span->opened_ns = now_ns();
    if (spans->count++ == 0)
        set_oldest(session, span->opened_ns);
    session->backend->event_record(session->device, span->start, stream->stream);
    return span;
}

/* Whether fewer than `limit` are in flight; if not, have the oldest end and look again soon. */
static bool fewer_than(struct session *session, unsigned limit)
{
    struct spans *spans = session->spans;
    if (spans->count >= limit && spans->items[spans->first].open) {
        close_span(session, &spans->items[spans->first]);
        spans_harvest(session);
    }
    if (spans->count < limit) {
        spans->look_ns = LOOK_LEAST_NS;
        return true;
    }
    turn_wait(session, spans->look_ns);
    spans->look_ns = spans->look_ns * 2 < LOOK_MOST_NS ? spans->look_ns * 2 : LOOK_MOST_NS;
    return false;
}

static bool open_span(struct session *session, struct object *stream)
{
    struct spans *spans = session->spans;
    struct span *span = NULL;
    spans_harvest(session);
    if (ledger_compute(session->ledger) < 100 && !fewer_than(session, GATED_SPANS))
        return false;
    if (!turn_come(session))
        return false;
    if (spans->count == SPANS && !(span = newest_of(spans, stream)) && !fewer_than(session, SPANS))
        return false;
    if (!span)
        span = new_span(session, stream);
    span->stream = stream;
    span->open = true;
    span->pieces = 0;
    stream->span = span;
    return true;
}

bool span_enter(struct session *session, struct object *stream)
{
    if (arbiter_frozen(session->arbiter)) {
        turn_wait(session, FROZEN_NS);
        return false;
    }
    return stream->span || open_span(session, stream);
}

static unsigned most_pieces(struct session *session)
{
    uint64_t piece_ns = session->spans->piece_ns;
    if (ledger_compute(session->ledger) == 100)
        return PIECES;
    if (piece_ns == 0 || piece_ns >= GATED_SPAN_NS)
        return 1;
    uint64_t pieces = GATED_SPAN_NS / piece_ns;
    return pieces < PIECES ? (unsigned)pieces : PIECES;
}

void span_leave(struct session *session, struct object *stream)
{
    struct span *span = stream->span;
    if (span && ++span->pieces >= most_pieces(session))
        close_span(session, span);
}
