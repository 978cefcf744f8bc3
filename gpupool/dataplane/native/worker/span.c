#include "worker/span.h"

#include <stdlib.h>

#define SPANS 64u            /* measured runs in flight; more work joins the newest run of its stream */
#define PIECES 32u           /* most pieces of work in a span */
#define GATED_SPANS 2u       /* runs in flight below 100 % */
#define GATED_SPAN_NS 1000000u /* and their aimed length */
#define REBASE_MS 1000.0f    /* float milliseconds are exact enough only near their origin */

struct span {
    CUevent start, end;
    struct object *stream; /* while open */
    unsigned pieces;
};

struct spans {
    struct span items[SPANS];
    unsigned first, count; /* a queue in order of submission */
    CUevent origin;
    double busy_until_ms;
    uint64_t piece_ns; /* moving mean */
};

static CUevent new_event(struct session *session)
{
    CUevent event = NULL;
    session->driver.cuEventCreate(&event, CU_EVENT_DEFAULT);
    return event;
}

struct spans *spans_new(struct session *session)
{
    struct spans *spans = calloc(1, sizeof *spans);
    if (!spans)
        return NULL;
    for (unsigned index = 0; index < SPANS; index++) {
        spans->items[index].start = new_event(session);
        spans->items[index].end = new_event(session);
        if (!spans->items[index].start || !spans->items[index].end)
            return NULL;
    }
    spans->origin = new_event(session);
    if (!spans->origin || session->driver.cuEventRecord(spans->origin, NULL) != CUDA_SUCCESS)
        return NULL;
    session->driver.cuEventSynchronize(spans->origin);
    return spans;
}

static void close_span(struct session *session, struct span *span)
{
    session->driver.cuEventRecord(span->end, span->stream->stream);
    span->stream->span = NULL;
    span->stream = NULL;
}

void spans_close(struct session *session, struct object *stream)
{
    struct spans *spans = session->spans;
    for (unsigned index = 0; index < spans->count; index++) {
        struct span *span = &spans->items[(spans->first + index) % SPANS];
        if (span->stream && (!stream || span->stream == stream))
            close_span(session, span);
    }
}

/* Charge the part of [start, end] that no span before it covered. */
static void charge(struct session *session, struct span *span)
{
    struct spans *spans = session->spans;
    float start = 0, end = 0;
    if (session->driver.cuEventElapsedTime(&start, spans->origin, span->start) != CUDA_SUCCESS ||
        session->driver.cuEventElapsedTime(&end, spans->origin, span->end) != CUDA_SUCCESS)
        return;
    double from = start > spans->busy_until_ms ? start : spans->busy_until_ms;
    uint64_t busy_ns = end > from ? (uint64_t)((end - from) * 1e6) : 0;
    if (end > spans->busy_until_ms)
        spans->busy_until_ms = end;
    if (span->pieces)
        spans->piece_ns = (spans->piece_ns * 3 + (uint64_t)((end - start) * 1e6) / span->pieces) / 4;
    if (end > REBASE_MS) {
        CUevent origin = spans->origin;
        spans->origin = span->end;
        span->end = origin;
        spans->busy_until_ms -= end;
    }
    arbiter_charge(session->arbiter, busy_ns);
}

static void take_first(struct session *session)
{
    struct spans *spans = session->spans;
    charge(session, &spans->items[spans->first]);
    spans->first = (spans->first + 1) % SPANS;
    spans->count--;
}

bool spans_harvest(struct session *session)
{
    struct spans *spans = session->spans;
    while (spans->count) {
        struct span *span = &spans->items[spans->first];
        if (span->stream || session->driver.cuEventQuery(span->end) == CUDA_ERROR_NOT_READY)
            return true;
        take_first(session);
    }
    return false;
}

/* Below 100 %, let no more than GATED_SPANS be in flight. */
static void bound(struct session *session)
{
    struct spans *spans = session->spans;
    while (spans->count >= GATED_SPANS) {
        struct span *span = &spans->items[spans->first];
        if (span->stream)
            close_span(session, span);
        session->driver.cuEventSynchronize(span->end);
        take_first(session);
    }
}

static void open_span(struct session *session, struct object *stream)
{
    struct spans *spans = session->spans;
    spans_harvest(session);
    if (ledger_compute(session->ledger) < 100)
        bound(session);
    arbiter_admit(session->arbiter);
    if (spans->count == SPANS)
        return;
    struct span *span = &spans->items[(spans->first + spans->count++) % SPANS];
    span->stream = stream;
    span->pieces = 0;
    stream->span = span;
    session->driver.cuEventRecord(span->start, stream->stream);
}

void span_enter(struct session *session, struct object *stream)
{
    if (!stream->span)
        open_span(session, stream);
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
