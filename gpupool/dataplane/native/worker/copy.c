#include "worker/copy.h"

#include "gpupool_messages.h"
#include "worker/memory.h"
#include "worker/object.h"
#include "worker/span.h"
#include "worker/staging.h"
#include "worker/synchronize.h"
#include "worker/turn.h"

enum result serve_copy_in(SERVE_ARGUMENTS)
{
    const struct copy_in_request *request = (const void *)(record + 1);
    struct object *stream = stream_object(session, request->stream);
    const unsigned char *source = staging_bytes(session, request->position, request->bytes);
    uint64_t end = request->position + request->bytes;
    enum result result = RESULT_INVALID_VALUE;
    if (!source)
        return result;
    if (!stream || !session_owns(session, request->destination, request->bytes)) {
        staging_release(session, end, NULL);
        return stream ? result : RESULT_INVALID_HANDLE;
    }
    if (!span_enter(session, stream))
        return turn_park(reply);
    result = session->backend->copy_in(session->device, request->destination, source, request->bytes, stream->stream);
    span_leave(session, stream);
    enum result recorded = staging_release(session, end, stream);
    return result == RESULT_OK ? recorded : result;
}

enum result serve_copy_in_small(SERVE_ARGUMENTS)
{
    const struct copy_in_small_request *request = (const void *)(record + 1);
    struct object *stream = stream_object(session, request->stream);
    if (!stream)
        return RESULT_INVALID_HANDLE;
    if (!session_owns(session, request->destination, request->bytes))
        return RESULT_INVALID_VALUE;
    if (!span_enter(session, stream))
        return turn_park(reply);
    /* From pageable memory: the device library has taken the data when this returns. */
    enum result result = session->backend->copy_in(session->device, request->destination, request + 1, request->bytes,
                                                   stream->stream);
    span_leave(session, stream);
    return result;
}

enum result serve_copy_out_small(SERVE_ARGUMENTS)
{
    const struct copy_out_small_request *request = (const void *)(record + 1);
    struct object *stream = stream_object(session, request->stream);
    if (!stream)
        return RESULT_INVALID_HANDLE;
    if (request->bytes > RING_REPLY_LIMIT || !session_owns(session, request->source, request->bytes))
        return RESULT_INVALID_VALUE;
    if (!span_enter(session, stream))
        return turn_park(reply);
    enum result result = session->backend->copy_out(session->device, session->ring.slots[record->slot].data,
                                                    request->source, request->bytes, stream->stream);
    span_leave(session, stream);
    if (result != RESULT_OK)
        return result;
    return answer_after(session, record, reply, stream, (uint32_t)request->bytes);
}

enum result serve_copy_arena(SERVE_ARGUMENTS)
{
    const struct copy_arena_request *request = (const void *)(record + 1);
    struct object *stream = stream_object(session, request->stream);
    enum result result;
    if (!stream)
        return RESULT_INVALID_HANDLE;
    if (!ring_in_arena(&session->ring, request->offset, request->bytes) ||
        !session_owns(session, request->device, request->bytes))
        return RESULT_INVALID_VALUE;
    void *host = session->ring.arena + request->offset;
    if (!span_enter(session, stream))
        return turn_park(reply);
    if (request->to_device)
        result = session->backend->copy_in(session->device, request->device, host, request->bytes, stream->stream);
    else
        result = session->backend->copy_out(session->device, host, request->device, request->bytes, stream->stream);
    span_leave(session, stream);
    return result;
}

enum result serve_copy_device(SERVE_ARGUMENTS)
{
    const struct copy_device_request *request = (const void *)(record + 1);
    struct object *stream = stream_object(session, request->stream);
    if (!stream)
        return RESULT_INVALID_HANDLE;
    if (!session_owns(session, request->destination, request->bytes) ||
        !session_owns(session, request->source, request->bytes))
        return RESULT_INVALID_VALUE;
    if (!span_enter(session, stream))
        return turn_park(reply);
    enum result result = session->backend->copy_within(session->device, request->destination, request->source,
                                                       request->bytes, stream->stream);
    span_leave(session, stream);
    return result;
}

static bool page_aligned(const struct session *session, uint64_t offset, uint64_t bytes)
{
    return bytes && offset % RING_PAGE == 0 && bytes % RING_PAGE == 0 && ring_in_arena(&session->ring, offset, bytes);
}

/* A device that can't pin copies from plain memory, only slower: no error of the client's. */
enum result serve_host_register(SERVE_ARGUMENTS)
{
    (void)reply;
    const struct host_register_request *request = (const void *)(record + 1);
    if (!page_aligned(session, request->offset, request->bytes))
        return RESULT_INVALID_VALUE;
    session->backend->pin(session->device, session->ring.arena + request->offset, request->bytes);
    return RESULT_OK;
}

enum result serve_host_unregister(SERVE_ARGUMENTS)
{
    (void)reply;
    const struct host_unregister_request *request = (const void *)(record + 1);
    if (!page_aligned(session, request->offset, RING_PAGE))
        return RESULT_INVALID_VALUE;
    session->backend->unpin(session->device, session->ring.arena + request->offset);
    return RESULT_OK;
}
