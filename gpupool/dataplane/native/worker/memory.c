#include "worker/memory.h"

#include <stdlib.h>

#include "gpupool_messages.h"
#include "worker/clear.h"
#include "worker/cost.h"
#include "worker/granule.h"
#include "worker/object.h"
#include "worker/span.h"
#include "worker/turn.h"

bool session_owns(const struct session *session, uint64_t address, uint64_t bytes)
{
    return bytes && ranges_find(&session->memory, address, bytes);
}

bool keep_range(struct session *session, struct range range)
{
    if (!ledger_take_host(session->ledger, COST_RANGE))
        return false;
    if (ranges_add(&session->memory, range))
        return true;
    ledger_give_host(session->ledger, COST_RANGE);
    return false;
}

/* Charge what an allocation takes at most. A small one may lie where the session's memory is already: then it costs
 * nothing, so it is tried though nothing is left. */
static bool take_in_advance(struct session *session, uint64_t bytes, uint64_t *charged)
{
    *charged = granules_whole(session, bytes);
    if (ledger_take(session->ledger, *charged))
        return true;
    *charged = 0;
    return bytes < session->granule;
}

/* Bring a charge to what it should be; false when the claim does not hold it. */
static bool recharge(struct session *session, uint64_t charged, uint64_t wanted)
{
    if (wanted > charged)
        return ledger_take(session->ledger, wanted - charged);
    ledger_give(session->ledger, charged - wanted);
    return true;
}

/* Clear what the device gave, of which `charged` was taken in advance, and keep the books on it; gives it back when that
 * fails. */
static enum result keep(struct session *session, uint64_t address, uint64_t bytes, uint64_t charged)
{
    uint64_t wanted = granules_of_its_own(session, address, bytes);
    enum result result = RESULT_OUT_OF_MEMORY;
    if (recharge(session, charged, wanted)) {
        charged = wanted;
        result = clear_memory(session, address, bytes);
        if (result == RESULT_OK && keep_range(session, (struct range){.start = address, .bytes = bytes}))
            return RESULT_OK;
    }
    session->backend->free(session->device, address);
    ledger_give(session->ledger, charged);
    return result == RESULT_OK ? RESULT_OUT_OF_MEMORY : result;
}

enum result serve_memory_allocate(SERVE_ARGUMENTS)
{
    const struct memory_allocate_request *request = (const void *)(record + 1);
    struct memory_allocate_reply answer = {0};
    uint64_t address = 0;
    uint64_t charged;
    if (request->bytes == 0)
        return RESULT_INVALID_VALUE;
    if (session->clearing && !turn_come(session))
        return turn_park(reply);
    if (!take_in_advance(session, request->bytes, &charged))
        return RESULT_OUT_OF_MEMORY;
    enum result result = session->backend->allocate(session->device, request->bytes, &address);
    if (result != RESULT_OK) {
        ledger_give(session->ledger, charged);
        return result;
    }
    result = keep(session, address, request->bytes, charged);
    answer.address = address;
    reply_put(reply, &answer, sizeof answer);
    return result;
}

/* The pitch is the device's choice: what it is likely to be is charged first, the rest when it is known. */
enum result serve_memory_allocate_pitch(SERVE_ARGUMENTS)
{
    const struct memory_allocate_pitch_request *request = (const void *)(record + 1);
    struct memory_allocate_pitch_reply answer = {0};
    uint64_t address = 0;
    uint64_t pitch = 0, bytes, charged;
    if (request->width == 0 || request->height == 0 ||
        __builtin_mul_overflow(memory_charge(request->width), request->height, &bytes))
        return RESULT_INVALID_VALUE;
    if (session->clearing && !turn_come(session))
        return turn_park(reply);
    if (!take_in_advance(session, bytes, &charged))
        return RESULT_OUT_OF_MEMORY;
    enum result result = session->backend->allocate_rows(session->device, request->width, request->height,
                                                           request->element_bytes, &address, &pitch);
    if (result != RESULT_OK) {
        ledger_give(session->ledger, charged);
        return result;
    }
    result = keep(session, address, pitch * request->height, charged);
    answer.address = address;
    answer.pitch = pitch;
    reply_put(reply, &answer, sizeof answer);
    return result;
}

enum result serve_memory_free(SERVE_ARGUMENTS)
{
    (void)reply;
    const struct memory_free_request *request = (const void *)(record + 1);
    const struct range *found = ranges_find(&session->memory, request->address, 1);
    struct range range;
    if (!found || found->owner || !ranges_remove(&session->memory, request->address, &range))
        return RESULT_INVALID_VALUE;
    enum result result = session->backend->free(session->device, range.start);
    ledger_give(session->ledger, granules_of_its_own(session, range.start, range.bytes));
    ledger_give_host(session->ledger, COST_RANGE);
    return result;
}

/* Bytes from the first to behind the last of `height` rows; false when they overflow. */
static bool extent(const struct memory_set_request *request, uint64_t *bytes)
{
    uint64_t row, rows;
    if (request->height == 0 || __builtin_mul_overflow(request->width, request->element_bytes, &row) ||
        __builtin_mul_overflow(request->pitch, request->height - 1, &rows))
        return false;
    return !__builtin_add_overflow(row, rows, bytes);
}

enum result serve_memory_set(SERVE_ARGUMENTS)
{
    const struct memory_set_request *request = (const void *)(record + 1);
    struct object *stream = stream_object(session, request->stream);
    uint32_t element = request->element_bytes;
    uint64_t bytes;
    if (!stream)
        return RESULT_INVALID_HANDLE;
    if ((element != 1 && element != 2 && element != 4) || !extent(request, &bytes) ||
        !session_owns(session, request->address, bytes))
        return RESULT_INVALID_VALUE;
    const struct fill fill = {
        .address = request->address, .pitch = request->pitch, .width = request->width, .height = request->height,
        .value = request->value, .element_bytes = element,
    };
    if (!span_enter(session, stream))
        return turn_park(reply);
    enum result result = session->backend->fill(session->device, &fill, stream->stream);
    span_leave(session, stream);
    return result;
}

void memory_free_all(struct session *session)
{
    for (size_t index = 0; index < session->memory.count; index++) {
        const struct range *range = &session->memory.items[index];
        if (!range->owner)
            session->backend->free(session->device, range->start);
    }
    ranges_clear(&session->memory);
}
