/* cuInit, versions, the profiler. */
#include "refcuda/api.h"
#include "refcuda/device.h"
#include "refcuda/driver.h"

API CUresult cuInit(unsigned int flags)
{
    if (flags)
        return refuse(CUDA_ERROR_INVALID_VALUE, "cuInit flags are %u; allowed: 0", flags);
    return driver_start(devices_open);
}

API CUresult cuDriverGetVersion(int *version)
{
    if (!version)
        return CUDA_ERROR_INVALID_VALUE;
    *version = CUDA_ABI_VERSION;
    return CUDA_SUCCESS;
}

/* Nothing to profile here, but programs bracket their work with these. */
API CUresult cuProfilerStart(void)
{
    return driver_ready();
}

API CUresult cuProfilerStop(void)
{
    return driver_ready();
}
