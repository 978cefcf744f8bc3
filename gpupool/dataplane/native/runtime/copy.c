/* Copies. Data from ordinary memory is taken before the call returns; data to it is there then. Only
 * pinned memory of the session's own arena takes part in asynchronous copies. */
#include <string.h>

#include "runtime/runtime.h"

#define SMALL_IN (16u << 10) /* travels in the record itself */

static const struct bytes NONE = {NULL, 0};

CUresult stream_wait(struct session *session, uint64_t stream)
{
    struct cuStreamSynchronize_request message = {.hStream = stream};
    struct bytes request = {&message, sizeof message};
    size_t got;
    return session_ask(session, CALL_cuStreamSynchronize, request, NONE, NULL, 0, &got);
}

/* --- towards the device --- */

/* Whether staging is free up to `position` of all that ever went through it. */
static bool is_released(const struct session *session, uint64_t position)
{
    uint64_t released = atomic_load(&session->ring.control->staging_released);
    return (int64_t)(released - position) >= 0;
}

static CUresult wait_staging(struct session *session, uint64_t position)
{
    struct staging_wait_request message = {.position = position};
    struct bytes request = {&message, sizeof message};
    size_t got;
    return session_ask(session, CALL_staging_wait, request, NONE, NULL, 0, &got);
}

/* Where the next piece goes, which must not wrap; the staging lock is held. */
static uint64_t next_place(const struct session *session, size_t bytes)
{
    uint64_t size = session->ring.staging_bytes, at = session->staged;
    return at % size + bytes > size ? at + size - at % size : at;
}

/* Take room for a piece. Waiting for it needs the lock let go: a smaller piece may fit meanwhile. On success
 * the lock is held. */
static CUresult lock_staging(struct session *session, size_t bytes, uint64_t *position)
{
    uint64_t size = session->ring.staging_bytes;
    CUresult result = CUDA_SUCCESS;
    while (result == CUDA_SUCCESS) {
        pthread_mutex_lock(&session->staging_lock);
        uint64_t at = *position = next_place(session, bytes);
        if (at + bytes <= size || is_released(session, at + bytes - size))
            break;
        pthread_mutex_unlock(&session->staging_lock);
        result = wait_staging(session, at + bytes - size);
    }
    return result;
}

CUresult staging_send(struct session *session, const void *source, size_t bytes,
                      CUresult (*send)(struct session *session, uint64_t position, size_t bytes, void *context),
                      void *context)
{
    size_t most = session->ring.staging_bytes / 4;
    const unsigned char *from = source;
    while (bytes) {
        size_t piece = bytes < most ? bytes : most;
        uint64_t position;
        CUresult result = lock_staging(session, piece, &position);
        if (result != CUDA_SUCCESS)
            return result;
        memcpy(session->ring.arena + position % session->ring.staging_bytes, from, piece);
        session->staged = (position + piece + RING_ALIGNMENT - 1) & ~(uint64_t)(RING_ALIGNMENT - 1);
        /* Under the lock: staging is released in the order in which it is sent. */
        result = send(session, position, piece, context);
        pthread_mutex_unlock(&session->staging_lock);
        if (result != CUDA_SUCCESS)
            return result;
        from += piece;
        bytes -= piece;
    }
    return CUDA_SUCCESS;
}

struct target {
    uint64_t destination, stream;
};

static CUresult send_piece(struct session *session, uint64_t position, size_t bytes, void *context)
{
    struct target *target = context;
    struct copy_in_request message = {.destination = target->destination, .bytes = bytes,
                                      .position = position, .stream = target->stream};
    struct bytes request = {&message, sizeof message};
    target->destination += bytes;
    return session_send(session, CALL_copy_in, request, NONE);
}

CUresult copy_in(struct session *session, uint64_t destination, const void *source, size_t bytes, uint64_t stream)
{
    if (bytes > SMALL_IN) {
        struct target target = {destination, stream};
        return staging_send(session, source, bytes, send_piece, &target);
    }
    struct copy_in_small_request message = {.destination = destination, .bytes = bytes, .stream = stream};
    struct bytes request = {&message, sizeof message}, payload = {source, bytes};
    return session_send(session, CALL_copy_in_small, request, payload);
}

static CUresult copy_arena(struct session *session, uint64_t device, uint64_t offset, size_t bytes,
                           uint64_t stream, bool to_device)
{
    struct copy_arena_request message = {.device = device, .offset = offset, .bytes = bytes,
                                         .stream = stream, .to_device = to_device};
    struct bytes request = {&message, sizeof message};
    return session_send(session, CALL_copy_arena, request, NONE);
}

/* --- from the device --- */

static CUresult out_small(struct session *session, void *destination, uint64_t source, size_t bytes,
                          uint64_t stream)
{
    struct copy_out_small_request message = {.source = source, .bytes = bytes, .stream = stream};
    struct bytes request = {&message, sizeof message};
    size_t got;
    CUresult result = session_ask(session, CALL_copy_out_small, request, NONE, destination, bytes, &got);
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

CUresult copy_out(struct session *session, void *destination, uint64_t source, size_t bytes, uint64_t stream)
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

/* One end: device memory of a session, or host memory. */
struct end {
    struct session *session;
    uint64_t address;
};

struct order {
    struct session *session; /* whose stream it is */
    uint64_t stream;
    bool waits; /* the blocking form */
};

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
    return session_send(to.session, CALL_copy_device, request, NONE);
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

static CUresult copy(const struct order *order, struct end to, struct end from, size_t bytes)
{
    if (bytes == 0)
        return CUDA_SUCCESS;
    if (to.session && from.session)
        return device_to_device(order, to, from, bytes);
    if (to.session || from.session)
        return host_with_device(order, to, from, bytes);
    return to.address && from.address ? host_to_host(order, to, from, bytes) : CUDA_ERROR_INVALID_VALUE;
}

/* --- the calls --- */

static CUresult begin(struct order *order, CUstream stream, bool per_thread, bool waits)
{
    struct call call = {0};
    CUresult result = call_stream(&call, stream, per_thread, &order->stream);
    order->session = call.session;
    order->waits = waits;
    return result;
}

/* A device address of `bytes` bytes; false when it is none. */
static bool device_end(const struct order *order, CUdeviceptr address, size_t bytes, struct end *end)
{
    *end = (struct end){memory_session(order->session, address, bytes), address};
    return end->session || bytes == 0;
}

static CUresult to_device(CUdeviceptr to, const void *from, size_t bytes, CUstream stream, bool per_thread,
                          bool waits)
{
    struct order order;
    struct end target;
    CUresult result = begin(&order, stream, per_thread, waits);
    if (result != CUDA_SUCCESS)
        return result;
    if ((bytes && !from) || !device_end(&order, to, bytes, &target))
        return CUDA_ERROR_INVALID_VALUE;
    return copy(&order, target, (struct end){NULL, (uintptr_t)from}, bytes);
}

static CUresult to_host(void *to, CUdeviceptr from, size_t bytes, CUstream stream, bool per_thread, bool waits)
{
    struct order order;
    struct end source;
    CUresult result = begin(&order, stream, per_thread, waits);
    if (result != CUDA_SUCCESS)
        return result;
    if ((bytes && !to) || !device_end(&order, from, bytes, &source))
        return CUDA_ERROR_INVALID_VALUE;
    return copy(&order, (struct end){NULL, (uintptr_t)to}, source, bytes);
}

static CUresult on_device(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream, bool per_thread)
{
    struct order order;
    struct end target, source;
    CUresult result = begin(&order, stream, per_thread, false);
    if (result != CUDA_SUCCESS)
        return result;
    if (!device_end(&order, to, bytes, &target) || !device_end(&order, from, bytes, &source))
        return CUDA_ERROR_INVALID_VALUE;
    return copy(&order, target, source, bytes);
}

/* Addresses of either kind: what no session's memory holds is host memory. */
static CUresult anywhere(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream, bool per_thread,
                         bool waits)
{
    struct order order;
    struct end target, source;
    CUresult result = begin(&order, stream, per_thread, waits);
    if (result != CUDA_SUCCESS)
        return result;
    device_end(&order, to, bytes, &target);
    device_end(&order, from, bytes, &source);
    return copy(&order, target, source, bytes);
}

CUresult runtime_cuMemcpyHtoD_v2(CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount, bool per_thread)
{
    return to_device(dstDevice, srcHost, ByteCount, NULL, per_thread, true);
}

CUresult runtime_cuMemcpyHtoDAsync_v2(CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount,
                                      CUstream hStream, bool per_thread)
{
    return to_device(dstDevice, srcHost, ByteCount, hStream, per_thread, false);
}

CUresult runtime_cuMemcpyDtoH_v2(void *dstHost, CUdeviceptr srcDevice, size_t ByteCount, bool per_thread)
{
    return to_host(dstHost, srcDevice, ByteCount, NULL, per_thread, true);
}

CUresult runtime_cuMemcpyDtoHAsync_v2(void *dstHost, CUdeviceptr srcDevice, size_t ByteCount,
                                      CUstream hStream, bool per_thread)
{
    return to_host(dstHost, srcDevice, ByteCount, hStream, per_thread, false);
}

CUresult runtime_cuMemcpyDtoD_v2(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount,
                                 bool per_thread)
{
    return on_device(dstDevice, srcDevice, ByteCount, NULL, per_thread);
}

CUresult runtime_cuMemcpyDtoDAsync_v2(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount,
                                      CUstream hStream, bool per_thread)
{
    return on_device(dstDevice, srcDevice, ByteCount, hStream, per_thread);
}

CUresult runtime_cuMemcpy(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount, bool per_thread)
{
    return anywhere(dst, src, ByteCount, NULL, per_thread, true);
}

CUresult runtime_cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount, CUstream hStream,
                               bool per_thread)
{
    return anywhere(dst, src, ByteCount, hStream, per_thread, false);
}

static CUresult between(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context,
                        size_t bytes, CUstream stream, bool per_thread)
{
    struct order order;
    struct end target = {NULL, to}, source = {NULL, from};
    uint64_t handle;
    CUresult result = begin(&order, stream, per_thread, false);
    if (result == CUDA_SUCCESS)
        result = context_find(to_context, &target.session, &handle);
    if (result == CUDA_SUCCESS)
        result = context_find(from_context, &source.session, &handle);
    if (result != CUDA_SUCCESS)
        return result;
    if (bytes && (!memory_owns(target.session, to, bytes, NULL) || !memory_owns(source.session, from, bytes, NULL)))
        return CUDA_ERROR_INVALID_VALUE;
    return copy(&order, target, source, bytes);
}

CUresult runtime_cuMemcpyPeer(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice,
                              CUcontext srcContext, size_t ByteCount, bool per_thread)
{
    return between(dstDevice, dstContext, srcDevice, srcContext, ByteCount, NULL, per_thread);
}

CUresult runtime_cuMemcpyPeerAsync(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice,
                                   CUcontext srcContext, size_t ByteCount, CUstream hStream, bool per_thread)
{
    return between(dstDevice, dstContext, srcDevice, srcContext, ByteCount, hStream, per_thread);
}

/* --- rectangles, row by row --- */

/* One side of a rectangle as the program gave it, and where its first row lies. */
struct side {
    CUmemorytype type;
    uint64_t base;
    size_t x, y, pitch;
    struct end first;
};

/* Bytes from the first row's start to behind the last row; false when the numbers fit nothing. */
static bool extent(struct side *side, size_t width, size_t height, uint64_t *bytes)
{
    size_t row, skipped;
    if (__builtin_add_overflow(side->x, width, &row))
        return false;
    if (side->pitch == 0)
        side->pitch = row;
    if (side->pitch < row || __builtin_mul_overflow(side->pitch, side->y, &skipped) ||
        __builtin_add_overflow(skipped, side->x, &skipped) ||
        __builtin_add_overflow(side->base, skipped, &side->first.address) ||
        __builtin_mul_overflow(side->pitch, height - 1, bytes))
        return false;
    uint64_t end;
    return !__builtin_add_overflow(*bytes, width, bytes) && !__builtin_add_overflow(side->first.address, *bytes, &end);
}

/* Find whose memory all rows of a side are; false when they are not in one piece. */
static bool locate(const struct order *order, struct side *side, size_t width, size_t height)
{
    uint64_t bytes;
    if (!side->base || !extent(side, width, height, &bytes))
        return false;
    uint64_t start = side->first.address;
    switch (side->type) {
    case CU_MEMORYTYPE_HOST:
        return true;
    case CU_MEMORYTYPE_DEVICE:
        return device_end(order, start, bytes, &side->first);
    case CU_MEMORYTYPE_UNIFIED:
        return device_end(order, start, bytes, &side->first) || !memory_session(order->session, start, 1);
    default:
        return false;
    }
}

static CUresult rectangle(const CUDA_MEMCPY2D *box, CUstream stream, bool per_thread, bool waits)
{
    struct order order;
    if (!box)
        return CUDA_ERROR_INVALID_VALUE;
    struct side from = {.type = box->srcMemoryType, .x = box->srcXInBytes, .y = box->srcY, .pitch = box->srcPitch};
    struct side to = {.type = box->dstMemoryType, .x = box->dstXInBytes, .y = box->dstY, .pitch = box->dstPitch};
    from.base = from.type == CU_MEMORYTYPE_HOST ? (uintptr_t)box->srcHost : box->srcDevice;
    to.base = to.type == CU_MEMORYTYPE_HOST ? (uintptr_t)box->dstHost : box->dstDevice;
    CUresult result = begin(&order, stream, per_thread, waits);
    if (result != CUDA_SUCCESS || !box->WidthInBytes || !box->Height)
        return result;
    if (!locate(&order, &from, box->WidthInBytes, box->Height) ||
        !locate(&order, &to, box->WidthInBytes, box->Height))
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t row = 0; row < box->Height && result == CUDA_SUCCESS; row++) {
        result = copy(&order, to.first, from.first, box->WidthInBytes);
        to.first.address += to.pitch;
        from.first.address += from.pitch;
    }
    return result;
}

CUresult runtime_cuMemcpy2D_v2(const CUDA_MEMCPY2D *pCopy, bool per_thread)
{
    return rectangle(pCopy, NULL, per_thread, true);
}

CUresult runtime_cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *pCopy, bool per_thread)
{
    return rectangle(pCopy, NULL, per_thread, true);
}

CUresult runtime_cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *pCopy, CUstream hStream, bool per_thread)
{
    return rectangle(pCopy, hStream, per_thread, false);
}
