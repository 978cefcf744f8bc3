"""Names of the driver interface that gpupool does not carry, each with its reason.

They resolve, and calling them is refused. Those whose arguments are here too are functions that the
reference device has.
"""

import re

from gpupool.dataplane.api.body import Refuse
from gpupool.dataplane.api.cuda.types import (
    COUNT,
    FUNCTION,
    JIT_OPTION,
    KERNEL,
    LIBRARY,
    LIBRARY_OPTION,
    MODULE,
    RESERVED,
    STREAM,
    UINT,
)
from gpupool.dataplane.api.entry import LOCAL, Call, call
from gpupool.dataplane.api.types import Array, Callback, Text, Untyped, in_, inout, new, out

_CALLBACKS = "The worker can't call functions of the program."
_LISTS = "What a module or library holds is not listed."
_FILES = "Load the file's content by cuLibraryLoadData."
_OWNER = "What a kernel belongs to is not told."

REFUSED: tuple[Call, ...] = (
    call(
        "cuLaunchHostFunc",
        10000,
        LOCAL,
        in_("hStream", STREAM),
        in_("fn", Callback("CUhostFn")),
        in_("userData", Untyped(), optional=True),
        twin="ptsz",
        body=Refuse(_CALLBACKS),
    ),
    call(
        "cuStreamAddCallback",
        5000,
        LOCAL,
        in_("hStream", STREAM),
        in_("callback", Callback("CUstreamCallback")),
        in_("userData", Untyped(), optional=True),
        in_("flags", RESERVED),
        twin="ptsz",
        body=Refuse(_CALLBACKS),
    ),
    call(
        "cuModuleEnumerateFunctions",
        12040,
        LOCAL,
        out("functions", Array(FUNCTION, "numFunctions")),
        in_("numFunctions", COUNT),
        in_("mod", MODULE),
        body=Refuse(_LISTS),
    ),
    call(
        "cuLibraryLoadFromFile",
        12000,
        LOCAL,
        out("library", new(LIBRARY)),
        in_("fileName", Text()),
        in_("jitOptions", Array(JIT_OPTION, "numJitOptions"), optional=True),
        inout("jitOptionsValues", Array(Untyped(), "numJitOptions"), optional=True),
        in_("numJitOptions", UINT),
        in_("libraryOptions", Array(LIBRARY_OPTION, "numLibraryOptions"), optional=True),
        inout("libraryOptionValues", Array(Untyped(), "numLibraryOptions"), optional=True),
        in_("numLibraryOptions", UINT),
        body=Refuse(_FILES),
    ),
    call(
        "cuLibraryEnumerateKernels",
        12040,
        LOCAL,
        out("kernels", Array(KERNEL, "numKernels")),
        in_("numKernels", COUNT),
        in_("lib", LIBRARY),
        body=Refuse(_LISTS),
    ),
    call(
        "cuKernelGetLibrary",
        12050,
        LOCAL,
        out("pLib", LIBRARY),
        in_("kernel", KERNEL),
        body=Refuse(_OWNER),
    ),
)

_TOOLS = "It concerns the process that has the device, which is the worker and not the program."
# Patterns of names, and why they are refused. The first that fits a whole name holds.
REASONS = (
    (
        r"cuGraphics\w+|cuGL\w+|cuEGL\w+|cuVDPAU\w+|cuEventCreateFromEGLSync",
        "There is no graphics driver beside the runtime.",
    ),
    (
        r"cuGraph\w+|cuDevice\w*Graph\w*|cuUserObject\w+|cuThreadExchange\w+|cuStream\w+[Cc]aptur\w+",
        "Graphs are not carried yet.",
    ),
    (
        r"cuArray\w+|cuMipmapped\w+|cuTex\w+|cuDeviceGetTexture\w+|cuSurf\w+|cuModuleGet(Tex|Surf)Ref|"
        r"cuParamSetTexRef|cuMemcpy(3D\w*|\w*toA\w*|Ato\w+)|cuMemMapArray\w+",
        "Arrays, textures and surfaces are not carried yet, nor copies that may read them.",
    ),
    (
        r"cuMemPool\w+|cuMem(Alloc|Free)\w*Async|cu(Mem|Device)[GS]et(Default)?MemPool",
        "Memory pools are not carried yet; a device attribute says so.",
    ),
    (
        r"cuMem(Address|Export|Import|GetAllocation|RetainAllocation)\w+|cuMem(Create|Map|Unmap|Release)|"
        r"cuMem[GS]etAccess|cuMemGetHandleForAddressRange|cuMulticast\w+",
        "Virtual memory management is not carried yet; a device attribute says so.",
    ),
    (
        r"cuMemAllocManaged|cuMem(Advise|Prefetch|Range|Discard)\w*|cuStreamAttachMemAsync|"
        r"cuLibraryGetManaged|cuMemGetLocationInfo",
        "The device can't reach the program's own memory, so there is no managed memory.",
    ),
    (
        r"cuIpc\w+|cu\w*External(Memory|Semaphore)\w*|cuFlushGPUDirect\w+|cuLogicalEndpoint\w+|"
        r"cuFabric\w+|cuDeviceGet(Clique|Fabric|NvSciSync)\w+|cuDeviceGet\w+AtomicCapabilities|"
        r"cuLaunchCooperativeKernelMultiDevice",
        "A vGPU shares no memory with another device, process or host.",
    ),
    (
        r"cuGreenCtx\w+|cuCtxFromGreenCtx|cu\w+GetDevResource|cuDev(Sm)?Resource\w+|cuSubgrid\w+|"
        r"cuStreamGetGreenCtx|cuCtx(Record|Wait)Event|cu\w+ExecAffinity\w*",
        "A vGPU is a share already; a program can't divide its processors further.",
    ),
    (r"cuCheckpoint\w+|cuCoredump\w+|cuLogs\w+|cuDevice\w*AsyncNotification", _TOOLS),
    (r"cuGetExportTable", "It gives out private tables of the vendor's, which gpupool does not forge."),
    (
        r"cuCtx(At|De)tach|cuLaunch(Grid\w*)?|cuParamSet\w+|cuFuncSet(BlockShape|SharedSize)|"
        r"cuProfilerInitialize",
        "It is deprecated, and others have replaced it.",
    ),
    (
        r"cuStream(Wait|Write)Value\d+|cuStreamBatchMemOp",
        "Operations of streams on memory are not carried yet; a device attribute says so.",
    ),
    (r"cuDeviceGetLuid", "It exists on Windows only."),
    (
        r"cuLink\w+",
        "Linking is not carried yet; the device's driver compiles PTX when a module is loaded.",
    ),
    (
        r"cuStream([GS]et|Copy)Attributes?|cuFunc(IsLoaded|Load)|"
        r"cuLibraryGetUnifiedFunction|cuOccupancyMax\w*Cluster\w*|cuTensorMap\w+|cuPointerSetAttribute|"
        r"cuMem\w*(Batch|WithAttributes)\w*|cuDeviceGetProperties",
        "It is not carried yet.",
    ),
)


def reason(name: str) -> str:
    """Return why calling ``name`` is refused; raises KeyError for a name without a reason."""
    for one in REFUSED:
        if one.name == name and isinstance(one.body, Refuse):
            return one.body.reason
    for pattern, text in REASONS:
        if re.fullmatch(pattern, name):
            return text
    raise KeyError(name)
