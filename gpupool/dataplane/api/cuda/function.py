"""Functions, kernels, occupancy, launches."""

from gpupool.dataplane.api.body import Answer, Hand, Same
from gpupool.dataplane.api.bulk import Bulk, Complete, End, Place
from gpupool.dataplane.api.cuda.types import (
    CACHE,
    DEVICE,
    FUNCTION,
    FUNCTION_ATTRIBUTE,
    INT,
    KERNEL,
    LAUNCH_CONFIGURATION,
    MODULE,
    OCCUPANCY_FLAGS,
    SHARED_CONFIG,
    SIZE,
    STREAM,
    UINT,
)
from gpupool.dataplane.api.entry import LOCAL, ONE_WAY, SYNCHRONOUS, call
from gpupool.dataplane.api.length import REST
from gpupool.dataplane.api.types import Array, Callback, Text, Untyped, in_, out

_LAYOUT = Hand("It looks for one parameter, of a function whose layout may not be known.")

FUNCTIONS = (
    call(
        "cuFuncGetParamInfo",
        12040,
        LOCAL,
        in_("func", FUNCTION),
        in_("paramIndex", SIZE),
        out("paramOffset", SIZE),
        out("paramSize", SIZE, optional=True),
        body=_LAYOUT,
    ),
    call(
        "cuFuncGetParamCount",
        13020,
        LOCAL,
        in_("func", FUNCTION),
        out("paramCount", SIZE),
        body=Answer({"paramCount": "function->parameter_count"}, needs="function->layout_known"),
        reference=False,
    ),
    # As on NVIDIA's driver the name is there as long as the module is loaded.
    call(
        "cuFuncGetName",
        12030,
        LOCAL,
        out("name", Text()),
        in_("hfunc", FUNCTION),
        body=Answer({"name": "function->name"}),
    ),
    call(
        "cuFuncGetModule",
        11000,
        LOCAL,
        out("hmod", MODULE),
        in_("hfunc", FUNCTION),
        body=Answer({"hmod": "public_handle(call.session, HANDLE_MODULE, function->module)"}),
    ),
    call(
        "cuFuncGetAttribute",
        2020,
        SYNCHRONOUS,
        out("pi", INT),
        in_("attrib", FUNCTION_ATTRIBUTE),
        in_("hfunc", FUNCTION),
    ),
    call(
        "cuFuncSetAttribute",
        9000,
        SYNCHRONOUS,
        in_("hfunc", FUNCTION),
        in_("attrib", FUNCTION_ATTRIBUTE),
        in_("value", INT),
    ),
    call("cuFuncSetCacheConfig", 3000, ONE_WAY, in_("hfunc", FUNCTION), in_("config", CACHE)),
    call(
        "cuFuncSetSharedMemConfig",
        4020,
        ONE_WAY,
        in_("hfunc", FUNCTION),
        in_("config", SHARED_CONFIG),
        reference=False,
    ),
)

KERNELS = (
    call(
        "cuKernelGetFunction",
        12000,
        LOCAL,
        out("pFunc", FUNCTION),
        in_("kernel", KERNEL),
        body=Answer({"pFunc": "kernel"}),
    ),
    call(
        "cuKernelGetName",
        12030,
        LOCAL,
        out("name", Text()),
        in_("hfunc", KERNEL),
        body=Same("cuFuncGetName"),
    ),
    call(
        "cuKernelGetParamInfo",
        12040,
        LOCAL,
        in_("kernel", KERNEL),
        in_("paramIndex", SIZE),
        out("paramOffset", SIZE),
        out("paramSize", SIZE, optional=True),
        body=Same("cuFuncGetParamInfo", {"func": "kernel"}),
    ),
    call(
        "cuKernelGetParamCount",
        13020,
        LOCAL,
        in_("kernel", KERNEL),
        out("paramCount", SIZE),
        body=Same("cuFuncGetParamCount", {"func": "kernel"}),
        reference=False,
    ),
    call(
        "cuKernelSetCacheConfig",
        12000,
        ONE_WAY,
        in_("kernel", KERNEL),
        in_("config", CACHE),
        in_("dev", DEVICE),
        body=Same("cuFuncSetCacheConfig", {"hfunc": "kernel"}),
        reference=False,
    ),
    call(
        "cuKernelGetAttribute",
        12000,
        SYNCHRONOUS,
        out("pi", INT),
        in_("attrib", FUNCTION_ATTRIBUTE),
        in_("kernel", KERNEL),
        in_("dev", DEVICE),
        body=Same("cuFuncGetAttribute", {"hfunc": "kernel"}),
    ),
    call(
        "cuKernelSetAttribute",
        12000,
        SYNCHRONOUS,
        in_("attrib", FUNCTION_ATTRIBUTE),
        in_("val", INT),
        in_("kernel", KERNEL),
        in_("dev", DEVICE),
        body=Same("cuFuncSetAttribute", {"hfunc": "kernel", "value": "val"}),
    ),
)

_ACTIVE = (
    out("numBlocks", INT),
    in_("func", FUNCTION),
    in_("blockSize", INT),
    in_("dynamicSMemSize", SIZE),
)
_POTENTIAL = (
    out("minGridSize", INT),
    out("blockSize", INT),
    in_("func", FUNCTION),
    in_("blockSizeToDynamicSMemSize", Callback("CUoccupancyB2DSize"), optional=True),
    in_("dynamicSMemSize", SIZE),
    in_("blockSizeLimit", INT),
)
_TRIES = ("cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags", "cuFuncGetAttribute")

OCCUPANCY = (
    call("cuOccupancyMaxActiveBlocksPerMultiprocessor", 6050, SYNCHRONOUS, *_ACTIVE),
    call(
        "cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags",
        7000,
        SYNCHRONOUS,
        *_ACTIVE,
        in_("flags", OCCUPANCY_FLAGS),
    ),
    call(
        "cuOccupancyMaxPotentialBlockSize",
        6050,
        SYNCHRONOUS,
        *_POTENTIAL,
        body=Same("cuOccupancyMaxPotentialBlockSizeWithFlags", {"flags": "0"}),
    ),
    call(
        "cuOccupancyMaxPotentialBlockSizeWithFlags",
        7000,
        SYNCHRONOUS,
        *_POTENTIAL,
        in_("flags", OCCUPANCY_FLAGS),
        body=Hand("It tries sizes, for each of which the program says what it takes."),
        uses=_TRIES,
    ),
    call(
        "cuOccupancyAvailableDynamicSMemPerBlock",
        10020,
        SYNCHRONOUS,
        out("dynamicSmemSize", SIZE),
        in_("func", FUNCTION),
        in_("numBlocks", INT),
        in_("blockSize", INT),
        reference=False,
    ),
)

_GRID = (
    in_("f", FUNCTION),
    in_("gridDimX", UINT),
    in_("gridDimY", UINT),
    in_("gridDimZ", UINT),
    in_("blockDimX", UINT),
    in_("blockDimY", UINT),
    in_("blockDimZ", UINT),
    in_("sharedMemBytes", UINT),
    in_("hStream", STREAM),
)
_PARAMETERS = in_("kernelParams", Array(Untyped(), "f"), optional=True)
_EXTRA = in_("extra", Array(Untyped(), end="CU_LAUNCH_PARAM_END"), optional=True)
_LAUNCHES = Hand("The fastest path: parameters are packed into the ring at the device's offsets.")
_PACKED = (Bulk(End(Place.HOST, "kernelParams"), End(Place.DEVICE), REST, Complete.TAKEN),)

LAUNCHES = (
    call(
        "cuLaunchKernel",
        4000,
        ONE_WAY,
        *_GRID,
        _PARAMETERS,
        _EXTRA,
        twin="ptsz",
        bulk=_PACKED,
        body=_LAUNCHES,
        uses=("launch",),
    ),
    call(
        "cuLaunchKernelEx",
        11060,
        ONE_WAY,
        in_("config", LAUNCH_CONFIGURATION),
        in_("f", FUNCTION),
        _PARAMETERS,
        _EXTRA,
        twin="ptsz",
        bulk=_PACKED,
        body=_LAUNCHES,
        uses=("launch",),
    ),
    call(
        "cuLaunchCooperativeKernel",
        9000,
        ONE_WAY,
        *_GRID,
        _PARAMETERS,
        twin="ptsz",
        bulk=_PACKED,
        body=_LAUNCHES,
        uses=("launch",),
        reference=False,
    ),
)
