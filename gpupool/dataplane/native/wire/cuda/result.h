/* gpupool's results as CUDA's. */
#ifndef GPUPOOL_WIRE_CUDA_RESULT_H
#define GPUPOOL_WIRE_CUDA_RESULT_H

#include "cuda/cuda_abi.h"
#include "wire/result.h"

#define SAME(name) _Static_assert((int)RESULT_##name == (int)CUDA_ERROR_##name, #name)
SAME(INVALID_VALUE);
SAME(OUT_OF_MEMORY);
SAME(DEVICE_UNAVAILABLE);
SAME(NO_DEVICE);
SAME(INVALID_DEVICE);
SAME(OPERATING_SYSTEM);
SAME(INVALID_HANDLE);
SAME(NOT_READY);
SAME(UNKNOWN);
#undef SAME

/* A result of the device's library, too, which came through unread. */
static inline CUresult cuda_result(enum result result)
{
    return (CUresult)result;
}

/* The other way: numbers that are not gpupool's pass as they are. */
static inline enum result result_of(CUresult result)
{
    return (enum result)result;
}

#endif
