/* Copies of rectangles, row by row. */
#include "runtime/cuda/copy.h"
#include "runtime/process.h"

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
        return copy_device_end(order, start, bytes, &side->first);
    case CU_MEMORYTYPE_UNIFIED:
        return copy_device_end(order, start, bytes, &side->first) || !process_owner(order->session, start, 1);
    default:
        return false;
    }
}

CUresult copy_rectangle(const CUDA_MEMCPY2D *box, CUstream stream, bool per_thread, bool waits)
{
    struct order order;
    if (!box)
        return CUDA_ERROR_INVALID_VALUE;
    struct side from = {.type = box->srcMemoryType, .x = box->srcXInBytes, .y = box->srcY, .pitch = box->srcPitch};
    struct side to = {.type = box->dstMemoryType, .x = box->dstXInBytes, .y = box->dstY, .pitch = box->dstPitch};
    from.base = from.type == CU_MEMORYTYPE_HOST ? (uintptr_t)box->srcHost : box->srcDevice;
    to.base = to.type == CU_MEMORYTYPE_HOST ? (uintptr_t)box->dstHost : box->dstDevice;
    CUresult result = copy_begin(&order, stream, per_thread, waits);
    if (result != CUDA_SUCCESS || !box->WidthInBytes || !box->Height)
        return result;
    if (!locate(&order, &from, box->WidthInBytes, box->Height) ||
        !locate(&order, &to, box->WidthInBytes, box->Height))
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t row = 0; row < box->Height && result == CUDA_SUCCESS; row++) {
        result = copy_run(&order, to.first, from.first, box->WidthInBytes);
        to.first.address += to.pitch;
        from.first.address += from.pitch;
    }
    return result;
}

