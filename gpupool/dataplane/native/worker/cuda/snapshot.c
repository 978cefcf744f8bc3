/* What a runtime learns once about its device, to answer from then on by itself. */
#include "gpupool_messages.h"
#include "worker/cuda/device.h"
#include "worker/session.h"
#include "worker_serve.h"

#define ATTRIBUTE_NUMBERS 160

/* Features whose calls gpupool does not carry: a program that asks must be told they are not there. */
static bool is_hidden(int attribute)
{
    switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
    case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
    case CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_MEM_OPS_V1:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS_V1:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR_V1:
    case CU_DEVICE_ATTRIBUTE_COOPERATIVE_MULTI_DEVICE_LAUNCH:
    case CU_DEVICE_ATTRIBUTE_CAN_FLUSH_REMOTE_WRITES:
    case CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES:
    case CU_DEVICE_ATTRIBUTE_DIRECT_MANAGED_MEM_ACCESS_FROM_HOST:
    case CU_DEVICE_ATTRIBUTE_VIRTUAL_ADDRESS_MANAGEMENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_SPARSE_CUDA_ARRAY_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_TIMELINE_SEMAPHORE_INTEROP_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_FLUSH_WRITES_OPTIONS:
    case CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES:
    case CU_DEVICE_ATTRIBUTE_DEFERRED_MAPPING_CUDA_ARRAY_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR:
    case CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_IPC_EVENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_FABRIC_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_NUMA_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_NUMA_MEMORY_POOLS_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_MEMORY_POOLS_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
        return true;
    default:
        return false;
    }
}

static void read_attributes(struct session *session, struct snapshot_reply *answer)
{
    answer->attribute_count = ATTRIBUTE_NUMBERS;
    for (int number = 1; number < ATTRIBUTE_NUMBERS; number++) {
        int value = 0;
        CUdevice_attribute attribute = (CUdevice_attribute)number;
        if (session->device->driver.cuDeviceGetAttribute(&value, attribute, session->device->number) != CUDA_SUCCESS)
            continue;
        answer->attributes[number] = is_hidden(number) ? 0 : value;
        answer->known[number] = 1;
    }
}

enum result serve_snapshot(SERVE_ARGUMENTS)
{
    (void)record;
    struct snapshot_reply answer = {0};
    CUuuid uuid = {{0}};
    const struct driver *driver = &session->device->driver;
    driver->cuDriverGetVersion(&answer.driver_version);
    driver->cuDeviceGetName(answer.name, sizeof answer.name - 1, session->device->number);
    driver->cuDeviceGetUuid(&uuid, session->device->number);
    driver->cuDeviceGetPCIBusId(answer.bus, sizeof answer.bus - 1, session->device->number);
    __builtin_memcpy(answer.uuid, uuid.bytes, sizeof answer.uuid);
    read_attributes(session, &answer);
    reply_put(reply, &answer, sizeof answer);
    return RESULT_OK;
}
