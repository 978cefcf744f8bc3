/* What an address is, attribute by attribute. */
#include <string.h>

#include "refcuda/api.h"
#include "refcuda/context.h"
#include "refcuda/current.h"
#include "refcuda/driver.h"
#include "refcuda/memory.h"

/* An attribute's value, in the size the interface gives it. */
struct value {
    size_t size; /* bytes; 0: the attribute is not known here */
    uint64_t bits;
};

static struct value value_of(const struct range *range, CUpointer_attribute attribute, CUdeviceptr address)
{
    bool host = range->kind == RANGE_PINNED || range->kind == RANGE_REGISTERED;
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
        return (struct value){8, (uintptr_t)range->context};
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        return (struct value){4, host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE};
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        return (struct value){8, address};
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        return (struct value){host ? 8 : 0, address};
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
        return (struct value){8, range->id};
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        return (struct value){4, (unsigned)range->device->ordinal};
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
        return (struct value){8, range->base};
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        return (struct value){8, range->size};
    case CU_POINTER_ATTRIBUTE_MAPPED:
        return (struct value){1, true};
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
        return (struct value){4, 3}; /* read and write */
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
        return (struct value){8, 0};
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
        return (struct value){1, false};
    default:
        return (struct value){0, 0};
    }
}

API CUresult cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr address)
{
    HELD struct context *context = NULL;
    struct range range;
    struct value value;
    CUresult result = context_current(&context);
    if (result)
        return result;
    if (!data || !memory_find(address, &range))
        return refuse(CUDA_ERROR_INVALID_VALUE, "%#lx is not known to the driver", (unsigned long)address);
    value = value_of(&range, attribute, address);
    if (!value.size)
        return refuse(CUDA_ERROR_INVALID_VALUE, "%#lx has no attribute %d", (unsigned long)address, (int)attribute);
    memcpy(data, &value.bits, value.size);
    return CUDA_SUCCESS;
}

/* What the address does not have is zero, and no error; so is everything of an address the driver does not know. */
API CUresult cuPointerGetAttributes(unsigned int number, CUpointer_attribute *attributes, void **data,
                                    CUdeviceptr address)
{
    static struct device nowhere = {.ordinal = -2}; /* what the interface shows for no device */
    HELD struct context *context = NULL;
    struct range range = {.device = &nowhere};
    CUresult result = context_current(&context);
    bool known;
    if (result)
        return result;
    if (!number || !attributes || !data)
        return CUDA_ERROR_INVALID_VALUE;
    known = memory_find(address, &range);
    for (unsigned int i = 0; i < number; i++) {
        struct value value = value_of(&range, attributes[i], address);
        if (!known && attributes[i] != CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL)
            value.bits = 0;
        if (attributes[i] == CU_POINTER_ATTRIBUTE_HOST_POINTER)
            value.size = 8;
        memcpy(data[i], &value.bits, value.size);
    }
    return CUDA_SUCCESS;
}
