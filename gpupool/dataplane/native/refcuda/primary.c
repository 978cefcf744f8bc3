/* Each device's primary context: one for the whole process, counted. */
#include "refcuda/api.h"
#include "refcuda/context.h"
#include "refcuda/contexts.h"
#include "refcuda/driver.h"

static CUresult lock_device(CUdevice ordinal, struct device **device)
{
    CUresult result = driver_ready();
    if (result)
        return result;
    if (!(*device = device_find(ordinal)))
        return refuse(CUDA_ERROR_INVALID_DEVICE, "device is %d; there are %d", ordinal, device_count());
    pthread_mutex_lock(&(*device)->primary_lock);
    return CUDA_SUCCESS;
}

/* The primary_lock is held. */
static CUresult end_primary(struct device *device)
{
    CUcontext primary = device->primary;
    device->primary = NULL;
    device->primary_users = 0;
    return primary ? context_end(primary) : CUDA_SUCCESS;
}

API CUresult cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice ordinal)
{
    struct device *device;
    CUresult result;
    if (!out)
        return CUDA_ERROR_INVALID_VALUE;
    if ((result = lock_device(ordinal, &device)))
        return result;
    if (!device->primary)
        result = context_new(device, device->primary_flags, true, &device->primary);
    if (!result) {
        device->primary_users++;
        *out = device->primary;
    }
    pthread_mutex_unlock(&device->primary_lock);
    return result;
}

API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice ordinal)
{
    struct device *device;
    CUresult result = lock_device(ordinal, &device);
    if (result)
        return result;
    if (!device->primary_users)
        result = refuse(CUDA_ERROR_INVALID_CONTEXT, "the primary context of device %d is not retained", ordinal);
    else if (!--device->primary_users)
        result = end_primary(device);
    pthread_mutex_unlock(&device->primary_lock);
    return result;
}
ALSO(cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2)

API CUresult cuDevicePrimaryCtxReset_v2(CUdevice ordinal)
{
    struct device *device;
    CUresult result = lock_device(ordinal, &device);
    if (result)
        return result;
    result = end_primary(device);
    pthread_mutex_unlock(&device->primary_lock);
    return result;
}
ALSO(cuDevicePrimaryCtxReset, cuDevicePrimaryCtxReset_v2)

API CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice ordinal, unsigned int flags)
{
    struct device *device;
    CUresult result;
    if (flags & ~(unsigned)CU_CTX_FLAGS_MASK || (flags & CU_CTX_SCHED_MASK) > CU_CTX_SCHED_BLOCKING_SYNC)
        return refuse(CUDA_ERROR_INVALID_VALUE, "there are no context flags %#x", flags);
    if ((result = lock_device(ordinal, &device)))
        return result;
    device->primary_flags = flags;
    pthread_mutex_unlock(&device->primary_lock);
    return CUDA_SUCCESS;
}
ALSO(cuDevicePrimaryCtxSetFlags, cuDevicePrimaryCtxSetFlags_v2)

API CUresult cuDevicePrimaryCtxGetState(CUdevice ordinal, unsigned int *flags, int *active)
{
    struct device *device;
    CUresult result;
    if (!flags || !active)
        return CUDA_ERROR_INVALID_VALUE;
    if ((result = lock_device(ordinal, &device)))
        return result;
    *flags = device->primary_flags;
    *active = device->primary != NULL;
    pthread_mutex_unlock(&device->primary_lock);
    return CUDA_SUCCESS;
}
