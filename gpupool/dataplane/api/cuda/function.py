"""Functions, kernels, occupancy, launches."""

from gpupool.dataplane.api.entry import LOCAL, ONE_WAY, SYNCHRONOUS, call, stub

FUNCTIONS = (
    call(
        "cuFuncGetParamInfo",
        12040,
        LOCAL,
        "CUfunction func, size_t paramIndex, size_t *paramOffset, size_t *paramSize",
    ),
    call("cuFuncGetParamCount", 13020, LOCAL, "CUfunction func, size_t *paramCount"),
    call("cuFuncGetName", 12030, LOCAL, "const char **name, CUfunction hfunc"),
    call("cuFuncGetModule", 11000, LOCAL, "CUmodule *hmod, CUfunction hfunc"),
    stub(
        "cuFuncGetAttribute", 2020, SYNCHRONOUS, "int *pi, CUfunction_attribute attrib, CUfunction hfunc"
    ),
    stub(
        "cuFuncSetAttribute",
        9000,
        SYNCHRONOUS,
        "CUfunction hfunc, CUfunction_attribute attrib, int value",
    ),
    stub("cuFuncSetCacheConfig", 3000, ONE_WAY, "CUfunction hfunc, CUfunc_cache config"),
    stub("cuFuncSetSharedMemConfig", 4020, ONE_WAY, "CUfunction hfunc, CUsharedconfig config"),
    call("cuKernelGetFunction", 12000, LOCAL, "CUfunction *pFunc, CUkernel kernel"),
    call("cuKernelGetName", 12030, LOCAL, "const char **name, CUkernel hfunc"),
    call(
        "cuKernelGetParamInfo",
        12040,
        LOCAL,
        "CUkernel kernel, size_t paramIndex, size_t *paramOffset, size_t *paramSize",
    ),
    call(
        "cuKernelGetAttribute",
        12000,
        SYNCHRONOUS,
        "int *pi, CUfunction_attribute attrib, CUkernel kernel, CUdevice dev",
        uses=("cuFuncGetAttribute",),
    ),
    call(
        "cuKernelSetAttribute",
        12000,
        SYNCHRONOUS,
        "CUfunction_attribute attrib, int val, CUkernel kernel, CUdevice dev",
        uses=("cuFuncSetAttribute",),
    ),
    stub(
        "cuOccupancyMaxActiveBlocksPerMultiprocessor",
        6050,
        SYNCHRONOUS,
        "int *numBlocks, CUfunction func, int blockSize, size_t dynamicSMemSize",
    ),
    stub(
        "cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags",
        7000,
        SYNCHRONOUS,
        "int *numBlocks, CUfunction func, int blockSize, size_t dynamicSMemSize, unsigned int flags",
    ),
    call(
        "cuOccupancyMaxPotentialBlockSize",
        6050,
        SYNCHRONOUS,
        "int *minGridSize, int *blockSize, CUfunction func, "
        "CUoccupancyB2DSize blockSizeToDynamicSMemSize, size_t dynamicSMemSize, int blockSizeLimit",
        uses=("cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags", "cuFuncGetAttribute"),
    ),
    call(
        "cuOccupancyMaxPotentialBlockSizeWithFlags",
        7000,
        SYNCHRONOUS,
        "int *minGridSize, int *blockSize, CUfunction func, "
        "CUoccupancyB2DSize blockSizeToDynamicSMemSize, size_t dynamicSMemSize, "
        "int blockSizeLimit, unsigned int flags",
        uses=("cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags", "cuFuncGetAttribute"),
    ),
    stub(
        "cuOccupancyAvailableDynamicSMemPerBlock",
        10020,
        SYNCHRONOUS,
        "size_t *dynamicSmemSize, CUfunction func, int numBlocks, int blockSize",
    ),
    call(
        "cuLaunchKernel",
        4000,
        ONE_WAY,
        "CUfunction f, unsigned int gridDimX, unsigned int gridDimY, unsigned int gridDimZ, "
        "unsigned int blockDimX, unsigned int blockDimY, unsigned int blockDimZ, "
        "unsigned int sharedMemBytes, CUstream hStream, void **kernelParams, void **extra",
        twin="ptsz",
        uses=("launch",),
    ),
    call(
        "cuLaunchKernelEx",
        11060,
        ONE_WAY,
        "const CUlaunchConfig *config, CUfunction f, void **kernelParams, void **extra",
        twin="ptsz",
        uses=("launch",),
    ),
    call(
        "cuLaunchCooperativeKernel",
        9000,
        ONE_WAY,
        "CUfunction f, unsigned int gridDimX, unsigned int gridDimY, unsigned int gridDimZ, "
        "unsigned int blockDimX, unsigned int blockDimY, unsigned int blockDimZ, "
        "unsigned int sharedMemBytes, CUstream hStream, void **kernelParams",
        twin="ptsz",
        uses=("launch",),
    ),
)
