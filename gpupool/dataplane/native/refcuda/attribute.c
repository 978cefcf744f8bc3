/* What cuDeviceGetAttribute says. What is not in the table does not exist on this device and is 0. */
#include "refcuda/attribute.h"

#include <stdbool.h>

#include "refcuda/compute.h"
#include "refcuda/driver.h"

#define A(name) CU_DEVICE_ATTRIBUTE_##name

static const struct {
    CUdevice_attribute attribute;
    int value;
} fixed[] = {
    {A(MAX_THREADS_PER_BLOCK), LARGEST_BLOCK},
    {A(MAX_BLOCK_DIM_X), LARGEST_BLOCK},
    {A(MAX_BLOCK_DIM_Y), LARGEST_BLOCK},
    {A(MAX_BLOCK_DIM_Z), 64},
    {A(MAX_GRID_DIM_X), 0x7fffffff},
    {A(MAX_GRID_DIM_Y), 65535},
    {A(MAX_GRID_DIM_Z), 65535},
    {A(MAX_SHARED_MEMORY_PER_BLOCK), SHARED_DEFAULT},
    {A(MAX_SHARED_MEMORY_PER_BLOCK_OPTIN), SHARED_LARGEST},
    {A(MAX_SHARED_MEMORY_PER_MULTIPROCESSOR), SHARED_LARGEST},
    {A(TOTAL_CONSTANT_MEMORY), 65536},
    {A(WARP_SIZE), 32},
    {A(MAX_PITCH), 0x7fffffff},
    {A(MAX_REGISTERS_PER_BLOCK), 65536},
    {A(MAX_REGISTERS_PER_MULTIPROCESSOR), 65536},
    {A(CLOCK_RATE), 1000000},        /* kHz */
    {A(MEMORY_CLOCK_RATE), 1000000}, /* kHz */
    {A(GLOBAL_MEMORY_BUS_WIDTH), 64},
    {A(L2_CACHE_SIZE), 1 << 20},
    {A(TEXTURE_ALIGNMENT), 512},
    {A(TEXTURE_PITCH_ALIGNMENT), 32},
    {A(SURFACE_ALIGNMENT), 512},
    {A(GPU_OVERLAP), 1},
    {A(ASYNC_ENGINE_COUNT), 2},
    {A(CONCURRENT_KERNELS), 1},
    {A(CAN_MAP_HOST_MEMORY), 1},
    {A(UNIFIED_ADDRESSING), 1},
    {A(HOST_REGISTER_SUPPORTED), 1},
    {A(READ_ONLY_HOST_REGISTER_SUPPORTED), 1},
    {A(CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM), 1},
    {A(HOST_NATIVE_ATOMIC_SUPPORTED), 1},
    {A(PCI_DOMAIN_ID), PCI_DOMAIN},
    /* One compute unit runs one block at a time. */
    {A(MAX_THREADS_PER_MULTIPROCESSOR), LARGEST_BLOCK},
    {A(MAX_BLOCKS_PER_MULTIPROCESSOR), 1},
    {A(COMPUTE_CAPABILITY_MAJOR), 8},
    {A(COMPUTE_CAPABILITY_MINOR), 0},
    {A(STREAM_PRIORITIES_SUPPORTED), 1},
    {A(SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO), 2},
    {A(NUMA_ID), -1},
    {A(HOST_NUMA_ID), -1},
};

static bool known(CUdevice_attribute attribute)
{
    switch (attribute) {
#define CASE(name, number) case A(name):
        CUDA_DEVICE_ATTRIBUTES(CASE)
#undef CASE
        return true;
    }
    return false;
}

CUresult device_attribute(const struct device *device, CUdevice_attribute attribute, int *value)
{
    if (!known(attribute))
        return refuse(CUDA_ERROR_INVALID_VALUE, "there is no device attribute %d", (int)attribute);
    *value = 0;
    if (attribute == A(MULTIPROCESSOR_COUNT))
        *value = (int)device->units;
    if (attribute == A(PCI_BUS_ID))
        *value = device_pci_bus(device);
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        if (fixed[i].attribute == attribute)
            *value = fixed[i].value;
    return CUDA_SUCCESS;
}
