"""Start, errors, symbol lookup and devices."""

from gpupool.dataplane.api.entry import LOCAL, call

EARLY = (
    call("cuInit", 2000, LOCAL, "unsigned int Flags", early=True),
    call("cuDriverGetVersion", 2020, LOCAL, "int *driverVersion", early=True, uses=("snapshot",)),
    call("cuGetErrorName", 6000, LOCAL, "CUresult error, const char **pStr", early=True),
    call("cuGetErrorString", 6000, LOCAL, "CUresult error, const char **pStr", early=True),
    call(
        "cuGetProcAddress",
        11030,
        LOCAL,
        "const char *symbol, void **pfn, int cudaVersion, uint64_t flags",
        early=True,
    ),
    call(
        "cuGetProcAddress",
        12000,
        LOCAL,
        "const char *symbol, void **pfn, int cudaVersion, uint64_t flags, "
        "CUdriverProcAddressQueryResult *symbolStatus",
        symbol="cuGetProcAddress_v2",
        early=True,
    ),
)

DEVICES = (
    call("cuDeviceGet", 2000, LOCAL, "CUdevice *device, int ordinal"),
    call("cuDeviceGetCount", 2000, LOCAL, "int *count"),
    call("cuDeviceGetName", 2000, LOCAL, "char *name, int len, CUdevice dev", uses=("snapshot",)),
    call(
        "cuDeviceGetUuid",
        9020,
        LOCAL,
        "CUuuid *uuid, CUdevice dev",
        also=(("cuDeviceGetUuid_v2", 11040),),
        uses=("snapshot",),
    ),
    call("cuDeviceTotalMem", 3020, LOCAL, "size_t *bytes, CUdevice dev", symbol="cuDeviceTotalMem_v2"),
    call(
        "cuDeviceGetAttribute",
        2000,
        LOCAL,
        "int *pi, CUdevice_attribute attrib, CUdevice dev",
        uses=("snapshot",),
    ),
    call(
        "cuDeviceComputeCapability",
        2000,
        LOCAL,
        "int *major, int *minor, CUdevice dev",
        uses=("snapshot",),
    ),
    call(
        "cuDeviceGetPCIBusId",
        4010,
        LOCAL,
        "char *pciBusId, int len, CUdevice dev",
        uses=("snapshot",),
    ),
    call(
        "cuDeviceGetByPCIBusId",
        4010,
        LOCAL,
        "CUdevice *dev, const char *pciBusId",
        uses=("snapshot",),
    ),
    call("cuDeviceCanAccessPeer", 4000, LOCAL, "int *canAccessPeer, CUdevice dev, CUdevice peerDev"),
    call(
        "cuDeviceGetP2PAttribute",
        8000,
        LOCAL,
        "int *value, CUdevice_P2PAttribute attrib, CUdevice srcDevice, CUdevice dstDevice",
    ),
)
