/* Copies. Data from ordinary memory is taken before the call returns; data to it is there then. Only
 * pinned memory of the session's own arena takes part in asynchronous copies. */
#include "runtime/cuda/copy.h"

#include <string.h>

#include "gpupool_messages.h"
#include "runtime/cuda/host.h"
#include "runtime/cuda/stream.h"
#include "runtime/process.h"
#include "runtime/staging.h"
#include "wire/cuda/result.h"

#define SMALL_IN (16u << 10) /* travels in the record itself */

static const struct bytes NONE = {NULL, 0};

/* --- towards the device --- */

struct target {
    uint64_t destination, stream;
};

static enum result send_piece(struct session *session, uint64_t position, size_t bytes, void *context)
{
    struct target *target = context;
    struct copy_in_request message = {.destination = target->destination, .bytes = bytes,
                                      .position = position, .stream = target->stream};
    struct bytes request = {&message, sizeof message};
    target->destination += bytes;
    return session_send(session, CALL_copy_in, request, NONE);
}

static CUresult copy_in(struct session *session, uint64_t destination, const void *source, size_t bytes,
                        uint64_t stream)
{
    if (bytes > SMALL_IN) {
        struct target target = {destination, stream};
        return cuda_result(staging_send(session, source, bytes, send_piece, &target));
    }
    struct copy_in_small_request message = {.destination = destination, .bytes = bytes, .stream = stream};
    struct bytes request = {&message, sizeof message}, payload = {source, bytes};
    return cuda_result(session_send(session, CALL_copy_in_small, request, payload));
}

static CUresult copy_arena(struct session *session, uint64_t device, uint64_t offset, size_t bytes,
                           uint64_t stream, bool to_device)
{
    struct copy_arena_request message = {.device = device, .offset = offset, .bytes = bytes,
                                         .stream = stream, .to_device = to_device};
    struct bytes request = {&message, sizeof message};
    return cuda_result(session_send(session, CALL_copy_arena, request, NONE));
}

/* --- from the device --- */

static CUresult out_small(struct session *session, void *destination, uint64_t source, size_t bytes,
                          uint64_t stream)
{
    struct copy_out_small_request message = {.source = source, .bytes = bytes, .stream = stream};
    struct bytes request = {&message, sizeof message};
    size_t got;
    CUresult result =
        cuda_result(session_ask(session, CALL_copy_out_small, request, NONE, destination, bytes, &got));
    return result == CUDA_SUCCESS && got != bytes ? CUDA_ERROR_UNKNOWN : result;
}

/* Copy one piece by way of the bounce memory at `offset`, which is this thread's for so long. */
static CUresult out_piece(struct session *session, void *to, uint64_t source, size_t bytes, uint64_t stream,
                          uint64_t offset)
{
    CUresult result = copy_arena(session, source, offset, bytes, stream, false);
    if (result == CUDA_SUCCESS)
        result = stream_wait(session, stream);
    if (result == CUDA_SUCCESS)
        memcpy(to, session->ring.arena + offset, bytes);
    return result;
}

/* Bytes of one thread's part of the bounce memory. */
static size_t bounce_piece(const struct session *session)
{
    return session->ring.bounce_bytes / BOUNCES / RING_PAGE * RING_PAGE;
}

static CUresult copy_out(struct session *session, void *destination, uint64_t source, size_t bytes, uint64_t stream)
{
    size_t most = bounce_piece(session);
    unsigned char *to = destination;
    CUresult result = CUDA_SUCCESS;
    if (bytes <= RING_REPLY_LIMIT)
        return out_small(session, destination, source, bytes, stream);
    unsigned place = places_take(&session->bounces);
    while (bytes && result == CUDA_SUCCESS) {
        size_t piece = bytes < most ? bytes : most;
        result = out_piece(session, to, source, piece, stream, session->ring.bounce_at + place * most);
        source += piece;
        to += piece;
        bytes -= piece;
    }
    places_give(&session->bounces, place);
    return result;
}

/* --- one copy, whatever its ends are --- */

static CUresult through_host_piece(const struct order *order, struct end to, struct end from, size_t bytes,
                                   uint64_t offset)
{
    uint64_t from_stream = from.session == order->session ? order->stream : 0;
    uint64_t to_stream = to.session == order->session ? order->stream : 0;
    CUresult result = copy_arena(from.session, from.address, offset, bytes, from_stream, false);
    if (result == CUDA_SUCCESS)
        result = stream_wait(from.session, from_stream);
    if (result == CUDA_SUCCESS)
        result = copy_in(to.session, to.address, from.session->ring.arena + offset, bytes, to_stream);
    return result;
}

/* Between two vGPUs: through this process, by way of the bounce memory of the one that is read. */
static CUresult through_host(const struct order *order, struct end to, struct end from, size_t bytes)
{
    struct session *source = from.session;
    size_t most = bounce_piece(source);
    unsigned place = places_take(&source->bounces);
    uint64_t offset = source->ring.bounce_at + place * most;
    CUresult result = CUDA_SUCCESS;
    while (bytes && result == CUDA_SUCCESS) {
        size_t piece = bytes < most ? bytes : most;
        result = through_host_piece(order, to, from, piece, offset);
        from.address += piece;
        to.address += piece;
        bytes -= piece;
    }
    places_give(&source->bounces, place);
    if (result != CUDA_SUCCESS || to.session == order->session)
        return result;
    return stream_wait(to.session, 0);
}

static CUresult device_to_device(const struct order *order, struct end to, struct end from, size_t bytes)
{
    struct copy_device_request message = {.destination = to.address, .source = from.address,
                                          .bytes = bytes, .stream = order->stream};
    struct bytes request = {&message, sizeof message};
    if (to.session != from.session)
        return through_host(order, to, from, bytes);
    return cuda_result(session_send(to.session, CALL_copy_device, request, NONE));
}

static CUresult host_with_device(const struct order *order, struct end to, struct end from, size_t bytes)
{
    struct session *session = to.session ? to.session : from.session;
    uint64_t stream = session == order->session ? order->stream : 0, offset;
    void *pointer = (void *)(to.session ? from.address : to.address);
    uint64_t device = to.session ? to.address : from.address;
    if (host_offset(session, pointer, bytes, &offset)) {
        CUresult result = copy_arena(session, device, offset, bytes, stream, to.session);
        return result == CUDA_SUCCESS && order->waits ? stream_wait(session, stream) : result;
    }
    if (to.session)
        return copy_in(session, device, pointer, bytes, stream);
    return copy_out(session, pointer, device, bytes, stream);
}

static CUresult host_to_host(const struct order *order, struct end to, struct end from, size_t bytes)
{
    CUresult result = stream_wait(order->session, order->stream);
    if (result == CUDA_SUCCESS)
        memmove((void *)to.address, (void *)from.address, bytes);
    return result;
}

CUresult copy_run(const struct order *order, struct end to, struct end from, size_t bytes)
{
    if (bytes == 0)
        return CUDA_SUCCESS;
    if (to.session && from.session)
        return device_to_device(order, to, from, bytes);
    if (to.session || from.session)
        return host_with_device(order, to, from, bytes);
    return to.address && from.address ? host_to_host(order, to, from, bytes) : CUDA_ERROR_INVALID_VALUE;
}

CUresult copy_begin(struct order *order, CUstream stream, bool per_thread, bool waits)
{
    struct call call = {0};
    CUresult result = call_stream(&call, stream, per_thread, &order->stream);
    order->session = call.session;
    order->waits = waits;
    return result;
}

bool copy_device_end(const struct order *order, CUdeviceptr address, size_t bytes, struct end *end)
{
    *end = (struct end){process_owner(order->session, address, bytes), address};
    return end->session || bytes == 0;
}
