"""The types of CUDA's driver API, by the names that its C gives them."""

from gpupool.dataplane.api.types import (
    Array,
    Enumeration,
    Flags,
    Handle,
    HostMemory,
    Number,
    Stream,
    Structure,
    Untyped,
    in_,
)
from gpupool.dataplane.api.types import DeviceAddress as Address

INT = Number("int")
UINT = Number("unsigned int")
COUNT = Number("unsigned int", range(17))
SIZE = Number("size_t")
FLOAT = Number("float")
ID = Number("unsigned long long")
BOOLEAN = Number("int", range(2))
BYTE = Number("unsigned char")
VERSION = Number("int", (11030, 12000, 12080, 13000))
PRIORITY = Number("int", range(-5, 1))

RESULT = Enumeration("CUresult", range(1000))
DEVICE_ATTRIBUTE = Enumeration("CUdevice_attribute", range(1, 160))
P2P_ATTRIBUTE = Enumeration("CUdevice_P2PAttribute", range(1, 5))
FUNCTION_ATTRIBUTE = Enumeration("CUfunction_attribute", range(16))
POINTER_ATTRIBUTE = Enumeration("CUpointer_attribute", range(1, 22))
CACHE = Enumeration("CUfunc_cache", range(4))
SHARED_CONFIG = Enumeration("CUsharedconfig", range(3))
LIMIT = Enumeration("CUlimit", range(7))
LOADING_MODE = Enumeration("CUmoduleLoadingMode", range(1, 3))
MEMORY_TYPE = Enumeration("CUmemorytype", range(1, 5))
JIT_OPTION = Enumeration("CUjit_option", range(32))
LIBRARY_OPTION = Enumeration("CUlibraryOption", range(2))
QUERY_RESULT = Enumeration("CUdriverProcAddressQueryResult", range(3))

RESERVED = Flags(0)
CONTEXT_FLAGS = Flags(0xFF, exclusive=7)
STREAM_FLAGS = Flags(1)
EVENT_FLAGS = Flags(3, refused=4)
EVENT_USE_FLAGS = Flags(1)
OCCUPANCY_FLAGS = Flags(1)
HOST_FLAGS = Flags(7)
REGISTER_FLAGS = Flags(11, refused=4)

DEVICE = Handle("device", "CUdevice")
ORDINAL = Handle("device", "int")
CONTEXT = Handle("context", "CUcontext")
EVENT = Handle("event", "CUevent")
STREAM_HANDLE = Handle("stream", "CUstream")
MODULE = Handle("module", "CUmodule")
LIBRARY = Handle("module", "CUlibrary")
FUNCTION = Handle("function", "CUfunction")
KERNEL = Handle("function", "CUkernel")
ARRAY = Handle("array", "CUarray")
STREAM = Stream()

# What an image is for a module, and a library: it says its size itself.
IMAGE = HostMemory()

UUID = Structure("CUuuid", (in_("bytes", Array(BYTE, 16)),))

AFFINITY = Structure("CUexecAffinityParam", (in_("type", INT), in_("value", UINT)), const=False)
CONTEXT_PARAMETERS = Structure(
    "CUctxCreateParams",
    (
        in_("execAffinityParams", Array(AFFINITY, "numExecAffinityParams"), optional=True),
        in_("numExecAffinityParams", INT),
        in_("cigParams", Untyped(), optional=True),
    ),
    const=False,
)

# Each side is host memory, device memory, either, or an array, as its memory type says.
RECTANGLE = Structure(
    "CUDA_MEMCPY2D",
    (
        in_("srcXInBytes", SIZE),
        in_("srcY", SIZE),
        in_("srcMemoryType", MEMORY_TYPE),
        in_("srcHost", HostMemory(), optional=True),
        in_("srcDevice", Address(host=True), optional=True),
        in_("srcArray", ARRAY, optional=True),
        in_("srcPitch", SIZE),
        in_("dstXInBytes", SIZE),
        in_("dstY", SIZE),
        in_("dstMemoryType", MEMORY_TYPE),
        in_("dstHost", HostMemory(), optional=True),
        in_("dstDevice", Address(host=True), optional=True),
        in_("dstArray", ARRAY, optional=True),
        in_("dstPitch", SIZE),
        in_("WidthInBytes", SIZE),
        in_("Height", SIZE),
    ),
)

LAUNCH_ATTRIBUTE = Structure(
    "CUlaunchAttribute",
    (in_("id", INT), in_("pad", Array(BYTE, 4)), in_("value", Array(BYTE, 64))),
)
LAUNCH_CONFIGURATION = Structure(
    "CUlaunchConfig",
    (
        in_("gridDimX", UINT),
        in_("gridDimY", UINT),
        in_("gridDimZ", UINT),
        in_("blockDimX", UINT),
        in_("blockDimY", UINT),
        in_("blockDimZ", UINT),
        in_("sharedMemBytes", UINT),
        in_("hStream", STREAM),
        in_("attrs", Array(LAUNCH_ATTRIBUTE, "numAttrs"), optional=True),
        in_("numAttrs", UINT),
    ),
)
