/* What a pointer is. */
#include "gpupool_calls.h"
#include "runtime/cuda/call.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/host.h"
#include "runtime/process.h"

struct place {
    struct session *session; /* of device memory */
    struct range range;
    struct host_block block; /* of pinned memory */
    bool device, host;
};

/* The context that memory belongs to: its own, that of its module, or the primary one. */
static uint64_t context_of(struct session *session, const struct range *range)
{
    pthread_mutex_lock(&session->table_lock);
    const struct item *module = handle_get(&session->handles, range->owner, HANDLE_MODULE);
    uint64_t context = module ? module->context : range->owner;
    if (!handle_get(&session->handles, context, HANDLE_CONTEXT))
        context = session->device->primary;
    pthread_mutex_unlock(&session->table_lock);
    return context;
}

static CUresult device_attribute(void *data, CUpointer_attribute attribute, const struct place *place)
{
    struct session *session = place->session;
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
        *(CUcontext *)data = (CUcontext)public_handle(session, HANDLE_CONTEXT, context_of(session, &place->range));
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *(unsigned *)data = CU_MEMORYTYPE_DEVICE;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *(int *)data = session->ordinal;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
        *(uint64_t *)data = place->range.start;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        *(size_t *)data = place->range.bytes;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
        *(unsigned long long *)data = place->range.start;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

static CUresult host_attribute(void *data, CUpointer_attribute attribute, const struct place *place)
{
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *(unsigned *)data = CU_MEMORYTYPE_HOST;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *(int *)data = place->block.ordinal;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
        *(uint64_t *)data = place->block.start;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        *(size_t *)data = place->block.bytes;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

static CUresult one_attribute(void *data, CUpointer_attribute attribute, CUdeviceptr pointer,
                              const struct place *place)
{
    bool known = place->device || place->host;
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
        *(bool *)data = false;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MAPPED:
        *(bool *)data = place->device;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        *(CUdeviceptr *)data = place->device ? pointer : 0;
        return place->device ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        *(void **)data = place->host ? (void *)pointer : NULL;
        return place->host ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    default:
        if (!known)
            return CUDA_ERROR_INVALID_VALUE;
        return place->device ? device_attribute(data, attribute, place) : host_attribute(data, attribute, place);
    }
}

static struct place locate(CUdeviceptr pointer)
{
    struct place place = {0};
    struct call call = {0};
    if (call_session(&call) != CUDA_SUCCESS)
        call.session = NULL;
    place.session = process_owner(call.session, pointer, 1);
    place.device = place.session && session_owns(place.session, pointer, 1, &place.range);
    place.host = !place.device && host_find(pointer, &place.block);
    return place;
}

CUresult runtime_cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr ptr)
{
    struct place place = locate(ptr);
    if (!data || !(place.device || place.host))
        return CUDA_ERROR_INVALID_VALUE;
    return one_attribute(data, attribute, ptr, &place);
}

/* Unlike the call for one attribute, this one answers zeros for ordinary host memory. */
CUresult runtime_cuPointerGetAttributes(unsigned int numAttributes, CUpointer_attribute *attributes,
                                        void **data, CUdeviceptr ptr)
{
    struct place place = locate(ptr);
    if (!attributes || !data)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned index = 0; index < numAttributes; index++) {
        if (one_attribute(data[index], attributes[index], ptr, &place) == CUDA_SUCCESS)
            continue;
        if (attributes[index] == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL)
            *(int *)data[index] = -2;
        else if (attributes[index] == CU_POINTER_ATTRIBUTE_MEMORY_TYPE)
            *(unsigned *)data[index] = 0;
        else
            *(void **)data[index] = NULL;
    }
    return CUDA_SUCCESS;
}
