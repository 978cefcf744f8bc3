/* Device memory: allocate, free, ask about. */
#include "refcuda/api.h"
#include "refcuda/context.h"
#include "refcuda/current.h"
#include "refcuda/driver.h"
#include "refcuda/memory.h"
#include "refcuda/queue.h"

enum { PITCH_UNIT = 512 };

API CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t size)
{
    HELD struct context *context = NULL;
    CUresult result = context_current(&context);
    if (result)
        return result;
    return address ? memory_allocate(context, size, address) : CUDA_ERROR_INVALID_VALUE;
}
ALSO(cuMemAlloc, cuMemAlloc_v2)

API CUresult cuMemAllocPitch_v2(CUdeviceptr *address, size_t *pitch, size_t width, size_t height,
                                unsigned int element_size)
{
    HELD struct context *context = NULL;
    size_t row = (width + PITCH_UNIT - 1) / PITCH_UNIT * PITCH_UNIT, size;
    CUresult result = context_current(&context);
    if (result)
        return result;
    if (!address || !pitch || !width || !height || width > row)
        return CUDA_ERROR_INVALID_VALUE;
    if (element_size != 4 && element_size != 8 && element_size != 16)
        return refuse(CUDA_ERROR_INVALID_VALUE, "element size is %u; allowed: 4, 8, 16", element_size);
    if (__builtin_mul_overflow(row, height, &size))
        return CUDA_ERROR_OUT_OF_MEMORY;
    if ((result = memory_allocate(context, size, address)))
        return result;
    *pitch = row;
    return CUDA_SUCCESS;
}
ALSO(cuMemAllocPitch, cuMemAllocPitch_v2)

API CUresult cuMemFree_v2(CUdeviceptr address)
{
    HELD struct context *context = NULL, *owner = NULL;
    struct range range;
    CUresult result = context_current(&context);
    if (result || !address)
        return result;
    if (!memory_find(address, &range) || range.kind != RANGE_DEVICE || range.base != address)
        return refuse(CUDA_ERROR_INVALID_VALUE, "no device memory begins at %#lx", (unsigned long)address);
    /* Work that is queued may use it. */
    if ((owner = object_acquire(KIND_CONTEXT, range.context)))
        result = streams_wait(owner);
    if (!memory_remove(RANGE_DEVICE, address, &range))
        return CUDA_ERROR_INVALID_VALUE;
    return result;
}
ALSO(cuMemFree, cuMemFree_v2)

API CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total)
{
    HELD struct context *context = NULL;
    CUresult result = context_current(&context);
    if (result)
        return result;
    if (!free_bytes || !total)
        return CUDA_ERROR_INVALID_VALUE;
    *total = context->device->memory;
    *free_bytes = *total - memory_used(context->device);
    return CUDA_SUCCESS;
}
ALSO(cuMemGetInfo, cuMemGetInfo_v2)

API CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr address)
{
    HELD struct context *context = NULL;
    struct range range;
    CUresult result = context_current(&context);
    if (result)
        return result;
    if (!memory_find(address, &range))
        return refuse(CUDA_ERROR_NOT_FOUND, "%#lx is no device memory", (unsigned long)address);
    if (base)
        *base = range.base;
    if (size)
        *size = range.size;
    return CUDA_SUCCESS;
}
ALSO(cuMemGetAddressRange, cuMemGetAddressRange_v2)
