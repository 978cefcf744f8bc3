#include "worker/span.h"

#include <stdlib.h>

#include "worker/clock.h"

#define SPANS 64u            /* measured runs in flight; more work joins the newest run of its stream */
#define PIECES 32u           /* most pieces of work in a span */
#define GATED_SPANS 2u       /* runs in flight below 100 % */
#define GATED_SPAN_NS 1000000u /* and their aimed length */
#define REBASE_MS 1000.0f    /* float milliseconds are exact enough, and clocks agree, only near their origin */
#define TRIALS 16u           /* of the smallest piece of work */
#define EMPTY_MAX_NS 50000u  /* what that may measure at most */

struct span {
    CUevent start, end;
    struct object *stream; /* NULL once the stream is destroyed */
    bool open;
    unsigned pieces;
    uint64_t opened_ns;
};

struct spans {
    struct span items[SPANS];
    unsigned first, count; /* a queue in order of submission */
    _Atomic uint64_t oldest_ns; /* when the first of them was opened, 0: there is none */
    CUstream clock;        /* where nothing waits for the client's work */
    CUevent origin;        /* was reached at origin_ns of CLOCK_MONOTONIC */
    uint64_t origin_ns;
    uint64_t empty_ns;     /* what the events around the smallest piece of work measure */
    uint64_t piece_ns;     /* moving mean */
};

/* Note how the device's clock and ours lie to each other now. */
static CUresult anchor(struct session *session)
{
    struct spans *spans = session->spans;
    uint64_t before = now_ns();
    CUresult result = session->driver.cuEventRecord(spans->origin, spans->clock);
    if (result == CUDA_SUCCESS)
        result = session->driver.cuEventSynchronize(spans->origin);
    spans->origin_ns = before + (now_ns() - before) / 2;
    return result;
}

/* The device idles between a span's first event and its work, which comes later: measure how long. */
static CUresult calibrate(struct session *session, CUdeviceptr byte)
{
    struct spans *spans = session->spans;
    const struct driver *driver = &session->driver;
    const struct span *span = spans->items;
    float milliseconds[TRIALS];
    CUresult result = CUDA_SUCCESS;
    for (unsigned trial = 0; trial < TRIALS && result == CUDA_SUCCESS; trial++) {
        driver->cuEventRecord(span->start, spans->clock);
        driver->cuMemsetD8Async(byte, 0, 1, spans->clock);
        driver->cuEventRecord(span->end, spans->clock);
        driver->cuEventSynchronize(span->end);
        result = driver->cuEventElapsedTime(&milliseconds[trial], span->start, span->end);
    }
    if (result != CUDA_SUCCESS)
        return result;
    /* Others may use the device meanwhile: what they took must not become time nobody is charged. */
    spans->empty_ns = EMPTY_MAX_NS;
    for (unsigned trial = 0; trial < TRIALS; trial++)
        if (milliseconds[trial] * 1e6f < (float)spans->empty_ns)
            spans->empty_ns = (uint64_t)(milliseconds[trial] * 1e6f);
    return CUDA_SUCCESS;
}

static CUresult make_events(struct session *session)
{
    struct spans *spans = session->spans;
    CUresult result = session->driver.cuEventCreate(&spans->origin, CU_EVENT_DEFAULT);
    for (unsigned index = 0; index < SPANS && result == CUDA_SUCCESS; index++) {
        result = session->driver.cuEventCreate(&spans->items[index].start, CU_EVENT_DEFAULT);
        if (result == CUDA_SUCCESS)
            result = session->driver.cuEventCreate(&spans->items[index].end, CU_EVENT_DEFAULT);
    }
    return result;
}

bool spans_open(struct session *session)
{
    CUdeviceptr byte;
    session->spans = calloc(1, sizeof *session->spans);
    if (!session->spans || make_events(session) != CUDA_SUCCESS ||
        session->driver.cuStreamCreateWithPriority(&session->spans->clock, CU_STREAM_NON_BLOCKING, 0) != CUDA_SUCCESS ||
        session->driver.cuMemAlloc_v2(&byte, 1) != CUDA_SUCCESS)
        return false;
    CUresult result = calibrate(session, byte);
    session->driver.cuMemFree_v2(byte);
    return result == CUDA_SUCCESS && anchor(session) == CUDA_SUCCESS;
}

static void close_span(struct session *session, struct span *span)
{
    session->driver.cuEventRecord(span->end, span->stream->stream);
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
static bool time_of(struct session *session, CUevent event, uint64_t *time_ns)
{
    float milliseconds = 0;
    if (session->driver.cuEventElapsedTime(&milliseconds, session->spans->origin, event) != CUDA_SUCCESS)
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
        if (span->open || session->driver.cuEventQuery(span->end) == CUDA_ERROR_NOT_READY)
            return true;
        take_first(session);
    }
    return false;
}

/* Let fewer than `limit` be in flight. */
static void bound(struct session *session, unsigned limit)
{
    struct spans *spans = session->spans;
    while (spans->count >= limit) {
        struct span *span = &spans->items[spans->first];
        if (span->open)
            close_span(session, span);
        session->driver.cuEventSynchronize(span->end);
        take_first(session);
    }
}

void spans_finish(struct session *session)
{
    bound(session, 1);
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
    session->driver.cuEventRecord(span->start, stream->stream);
    return span;
}

static void open_span(struct session *session, struct object *stream)
{
    struct spans *spans = session->spans;
    struct span *span = NULL;
    spans_harvest(session);
    if (ledger_compute(session->ledger) < 100)
        bound(session, GATED_SPANS);
    arbiter_admit(session->arbiter);
    if (spans->count == SPANS && !(span = newest_of(spans, stream)))
        bound(session, SPANS);
    if (!span)
        span = new_span(session, stream);
    span->stream = stream;
    span->open = true;
    span->pieces = 0;
    stream->span = span;
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
