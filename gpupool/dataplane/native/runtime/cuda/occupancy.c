/* The block size that fills the device best: tried out, from the largest down in steps of a warp. */
#include "gpupool_calls.h"
#include "runtime/cuda/call.h"
#include "runtime/cuda/device.h"

struct best {
    int block, blocks; /* threads of a block; blocks that a multiprocessor holds */
};

static CUresult try_sizes(CUfunction func, CUoccupancyB2DSize shared_for, size_t shared, unsigned flags, int largest,
                          int warp, struct best *best)
{
    for (int block = largest; block > 0; block = (block - 1) / warp * warp) {
        int blocks = 0;
        size_t bytes = shared_for ? shared_for(block) : shared;
        CUresult result =
            runtime_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(&blocks, func, block, bytes, flags);
        if (result != CUDA_SUCCESS)
            return result;
        if (blocks * block > best->blocks * best->block)
            *best = (struct best){block, blocks};
    }
    return CUDA_SUCCESS;
}

CUresult runtime_cuOccupancyMaxPotentialBlockSizeWithFlags(int *minGridSize, int *blockSize, CUfunction func,
                                                           CUoccupancyB2DSize blockSizeToDynamicSMemSize,
                                                           size_t dynamicSMemSize, int blockSizeLimit,
                                                           unsigned int flags)
{
    struct call call = {0};
    struct best best = {0};
    uint64_t number;
    int largest = 0;
    if (!minGridSize || !blockSize || blockSizeLimit < 0)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = call_handle(&call, HANDLE_FUNCTION, func, &number);
    if (result == CUDA_SUCCESS)
        result = runtime_cuFuncGetAttribute(&largest, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, func);
    if (result != CUDA_SUCCESS)
        return result;
    const int32_t *device = call.session->device->snapshot.attributes;
    int warp = device[CU_DEVICE_ATTRIBUTE_WARP_SIZE] > 0 ? device[CU_DEVICE_ATTRIBUTE_WARP_SIZE] : 1;
    if (blockSizeLimit && blockSizeLimit < largest)
        largest = blockSizeLimit;
    result = try_sizes(func, blockSizeToDynamicSMemSize, dynamicSMemSize, flags, largest, warp, &best);
    if (result != CUDA_SUCCESS)
        return result;
    *blockSize = best.block;
    *minGridSize = best.blocks * device[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT];
    return CUDA_SUCCESS;
}

