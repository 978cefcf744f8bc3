/* Copies of a run of bytes. */
#include "runtime/cuda/call.h"
#include "runtime/cuda/copy.h"

/* Find whose memory the end of a copy is. */
static CUresult find_end(const struct order *order, const struct copy_place *place, size_t bytes, struct end *end)
{
    uint64_t handle;
    *end = (struct end){NULL, place->address};
    if (place->kind == COPY_CONTEXT) {
        CUresult result = context_find(place->context, &end->session, &handle);
        if (result != CUDA_SUCCESS)
            return result;
        return !bytes || session_owns(end->session, place->address, bytes, NULL) ? CUDA_SUCCESS
                                                                                 : CUDA_ERROR_INVALID_VALUE;
    }
    if (place->kind == COPY_HOST)
        return !bytes || place->address ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    bool found = copy_device_end(order, place->address, bytes, end);
    return found || place->kind == COPY_EITHER ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult copy_bytes(struct copy_place to, struct copy_place from, size_t bytes, CUstream stream, bool per_thread,
                    bool waits)
{
    struct order order;
    struct end target, source;
    CUresult result = copy_begin(&order, stream, per_thread, waits);
    if (result == CUDA_SUCCESS)
        result = find_end(&order, &to, bytes, &target);
    if (result == CUDA_SUCCESS)
        result = find_end(&order, &from, bytes, &source);
    return result == CUDA_SUCCESS ? copy_run(&order, target, source, bytes) : result;
}
