#include "runtime/cuda/memory.h"

#include "attachment/log.h"
#include "gpupool_calls.h"
#include "gpupool_messages.h"
#include "runtime/address_map.h"
#include "runtime/cuda/call.h"
#include "runtime/cuda/stream.h"
#include "runtime/process.h"

#define TRIES 16u
#define FILLER (64u << 10) /* bytes */

/* The memory asked for: a run of bytes, or rows whose pitch the device chooses. */
struct wish {
    uint64_t context, bytes; /* bytes 0: rows */
    struct memory_allocate_pitch_request rows;
};

static CUresult ask(struct call *call, const struct wish *wish, struct memory_allocate_pitch_reply *made)
{
    struct memory_allocate_request run = {.bytes = wish->bytes, .context = wish->context};
    struct memory_allocate_reply reply;
    if (!wish->bytes)
        return call_ask(call, CALL_memory_allocate_pitch, &wish->rows, sizeof wish->rows, NULL, 0, made, sizeof *made);
    CUresult result = call_ask(call, CALL_memory_allocate, &run, sizeof run, NULL, 0, &reply, sizeof reply);
    made->address = reply.address;
    return result;
}

static void give_back(struct call *call, const uint64_t *addresses, unsigned count)
{
    for (unsigned index = 0; index < count; index++)
        call_send(call, CALL_memory_free, &addresses[index], sizeof *addresses, NULL, 0);
}

/* OUT_OF_MEMORY when the addresses are in use in the program. */
static CUresult remember(struct session *session, const struct wish *wish,
                         const struct memory_allocate_pitch_reply *made)
{
    struct range range = {.start = made->address, .owner = wish->context};
    CUresult result = CUDA_ERROR_CONTEXT_IS_DESTROYED;
    range.bytes = wish->bytes ? wish->bytes : made->pitch * wish->rows.height;
    pthread_mutex_lock(&session->table_lock);
    if (context_live(session, wish->context))
        result = address_map_add(&session->memory, range) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_unlock(&session->table_lock);
    return result;
}

/* What lies at addresses in use here is held until another place is found, and ever more with it, so that
 * the device gets past them; then it is given back. */
static CUresult allocate(struct call *call, const struct wish *wish, struct memory_allocate_pitch_reply *made)
{
    uint64_t rejects[TRIES * 2];
    unsigned count = 0;
    CUresult result;
    for (unsigned try = 0; try < TRIES; try++) {
        struct wish filler = {.context = wish->context, .bytes = (uint64_t)FILLER << try};
        struct memory_allocate_pitch_reply filled;
        result = ask(call, wish, made);
        if (result != CUDA_SUCCESS)
            break;
        result = remember(call->session, wish, made);
        if (result == CUDA_SUCCESS)
            break;
        rejects[count++] = made->address;
        if (result != CUDA_ERROR_OUT_OF_MEMORY)
            break;
        if (ask(call, &filler, &filled) == CUDA_SUCCESS)
            rejects[count++] = filled.address;
    }
    give_back(call, rejects, count);
    if (result == CUDA_ERROR_OUT_OF_MEMORY && count)
        runtime_log("device %d: no memory was free whose addresses are not in use in this program",
                    call->session->ordinal);
    return result;
}

CUresult runtime_cuMemAlloc_v2(CUdeviceptr *dptr, size_t bytesize)
{
    struct wish wish = {.bytes = bytesize};
    struct memory_allocate_pitch_reply reply;
    struct call call = {0};
    if (!dptr || !bytesize)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = context_current(&call.session, &wish.context);
    if (result == CUDA_SUCCESS)
        result = allocate(&call, &wish, &reply);
    if (result == CUDA_SUCCESS)
        *dptr = reply.address;
    return result;
}

CUresult runtime_cuMemAllocPitch_v2(CUdeviceptr *dptr, size_t *pPitch, size_t WidthInBytes, size_t Height,
                                    unsigned int ElementSizeBytes)
{
    struct wish wish = {.rows = {.width = WidthInBytes, .height = Height, .element_bytes = ElementSizeBytes}};
    struct memory_allocate_pitch_reply reply;
    struct call call = {0};
    if (!dptr || !pPitch || !WidthInBytes || !Height)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = context_current(&call.session, &wish.context);
    wish.rows.context = wish.context;
    if (result == CUDA_SUCCESS)
        result = allocate(&call, &wish, &reply);
    if (result != CUDA_SUCCESS)
        return result;
    *dptr = reply.address;
    *pPitch = reply.pitch;
    return CUDA_SUCCESS;
}

CUresult runtime_cuMemFree_v2(CUdeviceptr dptr)
{
    struct call call = {0};
    struct range range;
    if (!dptr)
        return CUDA_SUCCESS;
    CUresult result = call_session(&call);
    if (result != CUDA_SUCCESS)
        return result;
    call.session = process_owner(call.session, dptr, 1);
    if (!call.session)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&call.session->table_lock);
    const struct range *found = ranges_find(&call.session->memory, dptr, 1);
    /* A module's memory ends with the module only. */
    bool freed = found && handle_get(&call.session->handles, found->owner, HANDLE_CONTEXT) &&
                 address_map_remove(&call.session->memory, dptr, &range);
    pthread_mutex_unlock(&call.session->table_lock);
    if (!freed)
        return CUDA_ERROR_INVALID_VALUE;
    struct memory_free_request request = {.address = dptr};
    return call_send(&call, CALL_memory_free, &request, sizeof request, NULL, 0);
}

CUresult memory_find(CUdeviceptr address, struct range *range)
{
    struct call call = {0};
    CUresult result = call_session(&call);
    if (result != CUDA_SUCCESS)
        return result;
    struct session *session = process_owner(call.session, address, 1);
    return session && session_owns(session, address, 1, range) ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

/* --- memset --- */

CUresult memory_set(struct memory_set_request request, CUstream stream, bool per_thread)
{
    struct call call = {0};
    uint64_t row, bytes;
    if (request.address % request.element_bytes || request.pitch % request.element_bytes)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = call_stream(&call, stream, per_thread, &request.stream);
    if (result != CUDA_SUCCESS || request.width == 0 || request.height == 0)
        return result;
    if (__builtin_mul_overflow(request.width, request.element_bytes, &row) ||
        __builtin_mul_overflow(request.pitch, request.height - 1, &bytes) ||
        __builtin_add_overflow(bytes, row, &bytes) || (request.height > 1 && request.pitch < row))
        return CUDA_ERROR_INVALID_VALUE;
    call.session = process_owner(call.session, request.address, bytes);
    if (!call.session)
        return CUDA_ERROR_INVALID_VALUE;
    return call_send(&call, CALL_memory_set, &request, sizeof request, NULL, 0);
}
