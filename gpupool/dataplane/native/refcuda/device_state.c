/* What programs ask of devices. */
#include <stdio.h>
#include <string.h>

#include "refcuda/api.h"
#include "refcuda/attribute.h"
#include "refcuda/driver.h"

#define DEVICE_NAME "gpupool reference device (simulated)"

/* The device, or why there is none. */
static CUresult check(CUdevice ordinal, struct device **device)
{
    CUresult result = driver_ready();
    if (result)
        return result;
    *device = device_find(ordinal);
    return *device ? CUDA_SUCCESS
                   : refuse(CUDA_ERROR_INVALID_DEVICE, "device is %d; there are %d", ordinal, device_count());
}

API CUresult cuDeviceGet(CUdevice *out, int ordinal)
{
    struct device *device;
    CUresult result = check(ordinal, &device);
    if (result)
        return result;
    if (!out)
        return CUDA_ERROR_INVALID_VALUE;
    *out = ordinal;
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGetCount(int *out)
{
    CUresult result = driver_ready();
    if (result)
        return result;
    if (!out)
        return CUDA_ERROR_INVALID_VALUE;
    *out = device_count();
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGetName(char *name, int length, CUdevice ordinal)
{
    struct device *device;
    CUresult result = check(ordinal, &device);
    if (result)
        return result;
    if (!name || length <= 0)
        return CUDA_ERROR_INVALID_VALUE;
    snprintf(name, (size_t)length, "%s", DEVICE_NAME);
    return CUDA_SUCCESS;
}

API CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice ordinal)
{
    struct device *device;
    CUresult result = check(ordinal, &device);
    if (result)
        return result;
    if (!bytes)
        return CUDA_ERROR_INVALID_VALUE;
    *bytes = device->memory;
    return CUDA_SUCCESS;
}
ALSO(cuDeviceTotalMem, cuDeviceTotalMem_v2)

API CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice ordinal)
{
    struct device *device;
    CUresult result = check(ordinal, &device);
    if (result)
        return result;
    if (!value)
        return CUDA_ERROR_INVALID_VALUE;
    return device_attribute(device, attribute, value);
}

API CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice ordinal)
{
    struct device *device;
    CUresult result = check(ordinal, &device);
    if (result)
        return result;
    if (!major || !minor)
        return CUDA_ERROR_INVALID_VALUE;
    device_attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, major);
    return device_attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, minor);
}

/* "gpupool refcuda" in ASCII and the ordinal: the same in every process, so that devices can be recognized. */
API CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice ordinal)
{
    struct device *device;
    CUresult result = check(ordinal, &device);
    if (result)
        return result;
    if (!uuid)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(uuid->bytes, "gpupool refcuda", 15);
    uuid->bytes[15] = (unsigned char)ordinal;
    return CUDA_SUCCESS;
}
ALSO(cuDeviceGetUuid, cuDeviceGetUuid_v2)

API CUresult cuDeviceGetPCIBusId(char *text, int length, CUdevice ordinal)
{
    struct device *device;
    CUresult result = check(ordinal, &device);
    if (result)
        return result;
    if (!text || length < (int)sizeof "0000:00:00.0")
        return CUDA_ERROR_INVALID_VALUE;
    snprintf(text, (size_t)length, "%04x:%02x:00.0", PCI_DOMAIN, (unsigned)device_pci_bus(device));
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGetByPCIBusId(CUdevice *out, const char *text)
{
    unsigned domain, bus, slot, function = 0;
    CUresult result = driver_ready();
    if (result)
        return result;
    if (!out || !text || sscanf(text, "%x:%x:%x.%x", &domain, &bus, &slot, &function) < 3)
        return CUDA_ERROR_INVALID_VALUE;
    if (domain != PCI_DOMAIN || bus < 1 || bus > (unsigned)device_count() || slot || function)
        return refuse(CUDA_ERROR_INVALID_DEVICE, "no device is at %s", text);
    *out = (int)bus - 1;
    return CUDA_SUCCESS;
}

API CUresult cuDeviceCanAccessPeer(int *can, CUdevice ordinal, CUdevice peer)
{
    struct device *device;
    CUresult result = check(ordinal, &device);
    if (result || (result = check(peer, &device)))
        return result;
    if (!can)
        return CUDA_ERROR_INVALID_VALUE;
    *can = ordinal != peer;
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attribute, CUdevice from, CUdevice to)
{
    struct device *device;
    CUresult result = check(from, &device);
    if (result || (result = check(to, &device)))
        return result;
    if (!value || from == to || attribute < 1 || attribute > CU_DEVICE_P2P_ATTRIBUTE_CUDA_ARRAY_ACCESS_SUPPORTED)
        return CUDA_ERROR_INVALID_VALUE;
    *value = attribute == CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED;
    return CUDA_SUCCESS;
}
