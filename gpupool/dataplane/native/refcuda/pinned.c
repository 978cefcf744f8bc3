/* Pinned host memory: allocated here, or the program's own, registered. Its device address is its host address. */
#include <sys/mman.h>

#include "refcuda/api.h"
#include "refcuda/context.h"
#include "refcuda/current.h"
#include "refcuda/driver.h"
#include "refcuda/memory.h"
#include "refcuda/queue.h"

API CUresult cuMemHostAlloc(void **out, size_t size, unsigned int flags)
{
    HELD struct context *context = NULL;
    struct range range = {.size = size, .kind = RANGE_PINNED, .flags = flags};
    void *memory;
    CUresult result = context_current(&context);
    if (result)
        return result;
    if (!out || !size || flags & ~7u)
        return refuse(CUDA_ERROR_INVALID_VALUE, "%zu bytes of pinned memory, flags %#x", size, flags);
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return CUDA_ERROR_OUT_OF_MEMORY;
    range.base = (uintptr_t)memory;
    if ((result = memory_add(context, &range))) {
        munmap(memory, size);
        return result;
    }
    *out = memory;
    return CUDA_SUCCESS;
}

API CUresult cuMemAllocHost_v2(void **out, size_t size)
{
    return cuMemHostAlloc(out, size, 0);
}
ALSO(cuMemAllocHost, cuMemAllocHost_v2)

/* Waits for what may still use the memory, then takes its range out. */
static CUresult withdraw(enum range_kind kind, void *memory, CUresult otherwise)
{
    HELD struct context *context = NULL, *owner = NULL;
    struct range range;
    uintptr_t base = (uintptr_t)memory;
    CUresult result = context_current(&context);
    if (result)
        return result;
    if (!memory_find(base, &range) || range.kind != kind || range.base != base)
        return refuse(otherwise, "no pinned memory of this sort begins at %p", memory);
    if ((owner = object_acquire(KIND_CONTEXT, range.context)))
        result = streams_wait(owner);
    if (!memory_remove(kind, base, &range))
        return otherwise;
    memory_release(&range);
    return result;
}

API CUresult cuMemFreeHost(void *memory)
{
    return withdraw(RANGE_PINNED, memory, CUDA_ERROR_INVALID_VALUE);
}

API CUresult cuMemHostRegister_v2(void *memory, size_t size, unsigned int flags)
{
    HELD struct context *context = NULL;
    struct range range = {.base = (uintptr_t)memory, .size = size, .kind = RANGE_REGISTERED, .flags = flags};
    CUresult result = context_current(&context);
    if (result)
        return result;
    if (!size || flags & ~15u || !memory_is_host(range.base, size))
        return refuse(CUDA_ERROR_INVALID_VALUE, "%p, %zu bytes, flags %#x cannot be registered", memory, size, flags);
    return memory_add(context, &range);
}
ALSO(cuMemHostRegister, cuMemHostRegister_v2)

API CUresult cuMemHostUnregister(void *memory)
{
    return withdraw(RANGE_REGISTERED, memory, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
}

/* The pinned range an address lies in. */
static CUresult pinned_at(void *memory, struct range *range)
{
    HELD struct context *context = NULL;
    CUresult result = context_current(&context);
    if (result)
        return result;
    if (!memory_find((uintptr_t)memory, range) || (range->kind != RANGE_PINNED && range->kind != RANGE_REGISTERED))
        return refuse(CUDA_ERROR_INVALID_VALUE, "%p is no pinned host memory", memory);
    return CUDA_SUCCESS;
}

API CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *address, void *memory, unsigned int flags)
{
    struct range range;
    CUresult result = pinned_at(memory, &range);
    if (result)
        return result;
    if (!address || flags)
        return CUDA_ERROR_INVALID_VALUE;
    *address = (CUdeviceptr)(uintptr_t)memory;
    return CUDA_SUCCESS;
}
ALSO(cuMemHostGetDevicePointer, cuMemHostGetDevicePointer_v2)

API CUresult cuMemHostGetFlags(unsigned int *flags, void *memory)
{
    struct range range;
    CUresult result = pinned_at(memory, &range);
    if (result)
        return result;
    if (!flags)
        return CUDA_ERROR_INVALID_VALUE;
    /* All pinned memory is mapped here, and a driver with unified addresses says so. */
    *flags = range.flags | CU_MEMHOSTALLOC_DEVICEMAP;
    return CUDA_SUCCESS;
}
