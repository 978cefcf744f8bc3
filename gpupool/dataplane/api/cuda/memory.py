"""Device memory and pinned host memory."""

from gpupool.dataplane.api.entry import HAND, LOCAL, ONE_WAY, SYNCHRONOUS, call, stub

MEMORY = (
    call(
        "cuMemAlloc",
        3020,
        SYNCHRONOUS,
        "CUdeviceptr *dptr, size_t bytesize",
        symbol="cuMemAlloc_v2",
        uses=("memory_allocate",),
    ),
    call(
        "cuMemAllocPitch",
        3020,
        SYNCHRONOUS,
        "CUdeviceptr *dptr, size_t *pPitch, size_t WidthInBytes, size_t Height, "
        "unsigned int ElementSizeBytes",
        symbol="cuMemAllocPitch_v2",
        uses=("memory_allocate_pitch",),
    ),
    call("cuMemFree", 3020, ONE_WAY, "CUdeviceptr dptr", symbol="cuMemFree_v2", uses=("memory_free",)),
    stub(
        "cuMemGetInfo",
        3020,
        SYNCHRONOUS,
        "size_t *free_bytes, size_t *total_bytes",
        symbol="cuMemGetInfo_v2",
        worker=HAND,
    ),
    call(
        "cuMemGetAddressRange",
        3020,
        LOCAL,
        "CUdeviceptr *pbase, size_t *psize, CUdeviceptr dptr",
        symbol="cuMemGetAddressRange_v2",
    ),
    call(
        "cuMemHostAlloc",
        2020,
        LOCAL,
        "void **pp, size_t bytesize, unsigned int Flags",
        uses=("host_register",),
    ),
    call(
        "cuMemAllocHost",
        3020,
        LOCAL,
        "void **pp, size_t bytesize",
        symbol="cuMemAllocHost_v2",
        uses=("host_register",),
    ),
    call("cuMemFreeHost", 2000, LOCAL, "void *p", uses=("host_unregister", "cuCtxSynchronize")),
    call(
        "cuMemHostGetDevicePointer",
        3020,
        LOCAL,
        "CUdeviceptr *pdptr, void *p, unsigned int Flags",
        symbol="cuMemHostGetDevicePointer_v2",
    ),
    call(
        "cuMemHostRegister",
        6050,
        LOCAL,
        "void *p, size_t bytesize, unsigned int Flags",
        symbol="cuMemHostRegister_v2",
    ),
    call("cuMemHostUnregister", 4000, LOCAL, "void *p"),
    call("cuMemHostGetFlags", 2030, LOCAL, "unsigned int *pFlags, void *p"),
    call(
        "cuPointerGetAttribute",
        4000,
        LOCAL,
        "void *data, CUpointer_attribute attribute, CUdeviceptr ptr",
    ),
    call(
        "cuPointerGetAttributes",
        7000,
        LOCAL,
        "unsigned int numAttributes, CUpointer_attribute *attributes, void **data, CUdeviceptr ptr",
    ),
)
