"""Modules and libraries.

A library is loaded on one vGPU only: that of the current context, the first one when none is current.
With several vGPUs, its kernels can't be launched, nor its globals be reached, on another than that: they
are CUDA_ERROR_INVALID_HANDLE there. Load the library, or a module, once per vGPU instead.
"""

from gpupool.dataplane.api.body import Answer, Hand, Same
from gpupool.dataplane.api.bulk import Bulk, Complete, End, Place
from gpupool.dataplane.api.cuda.types import (
    FUNCTION,
    IMAGE,
    JIT_OPTION,
    KERNEL,
    LIBRARY,
    LIBRARY_OPTION,
    LOADING_MODE,
    MODULE,
    SIZE,
    UINT,
)
from gpupool.dataplane.api.entry import LOCAL, ONE_WAY, SYNCHRONOUS, call
from gpupool.dataplane.api.length import REST
from gpupool.dataplane.api.types import (
    Access,
    Array,
    DeviceAddress,
    Text,
    Untyped,
    destroyed,
    in_,
    inout,
    new,
    out,
)

_SENDS = ("image_part", "module_load")


def _image(at: str) -> tuple[Bulk, ...]:
    return (Bulk(End(Place.HOST, at), End(Place.WORKER), REST, Complete.CALL),)


_LOADS = Hand("It reads the image's size, sends it in parts and gives the compiler's logs back.")
_ADDRESS = out("dptr", DeviceAddress(Access.NONE), optional=True)
_BYTES = out("bytes", SIZE, optional=True)
_NAME = in_("name", Text())

MODULES = (
    call(
        "cuModuleLoad",
        2000,
        SYNCHRONOUS,
        out("module", new(MODULE)),
        in_("fname", Text()),
        body=Hand("It reads the image from a file."),
        uses=_SENDS,
    ),
    call(
        "cuModuleLoadData",
        2000,
        SYNCHRONOUS,
        out("module", new(MODULE)),
        in_("image", IMAGE),
        bulk=_image("image"),
        body=Same("cuModuleLoadDataEx", {"numOptions": "0", "options": "NULL", "optionValues": "NULL"}),
    ),
    call(
        "cuModuleLoadDataEx",
        2010,
        SYNCHRONOUS,
        out("module", new(MODULE)),
        in_("image", IMAGE),
        in_("numOptions", UINT),
        in_("options", Array(JIT_OPTION, "numOptions"), optional=True),
        inout("optionValues", Array(Untyped(), "numOptions"), optional=True),
        bulk=_image("image"),
        body=_LOADS,
        uses=_SENDS,
    ),
    call(
        "cuModuleLoadFatBinary",
        2000,
        SYNCHRONOUS,
        out("module", new(MODULE)),
        in_("fatCubin", IMAGE),
        bulk=_image("fatCubin"),
        body=Same("cuModuleLoadData", {"image": "fatCubin"}),
        reference=False,
    ),
    call(
        "cuModuleUnload",
        2000,
        ONE_WAY,
        in_("hmod", destroyed(MODULE)),
        body=Hand("It ends the module's functions and globals."),
        uses=("module_unload",),
    ),
    call(
        "cuModuleGetFunction",
        2000,
        SYNCHRONOUS,
        out("hfunc", new(FUNCTION)),
        in_("hmod", MODULE),
        _NAME,
        body=Hand("It keeps where the function's parameters lie."),
        uses=("module_function",),
    ),
    call(
        "cuModuleGetGlobal",
        3020,
        SYNCHRONOUS,
        _ADDRESS,
        _BYTES,
        in_("hmod", MODULE),
        _NAME,
        symbol="cuModuleGetGlobal_v2",
        body=Hand("It keeps the books on device memory."),
        uses=("module_global",),
    ),
    call("cuModuleGetFunctionCount", 12040, SYNCHRONOUS, out("count", UINT), in_("mod", MODULE)),
    call(
        "cuModuleGetLoadingMode",
        11070,
        LOCAL,
        out("mode", LOADING_MODE),
        body=Answer({"mode": "CU_MODULE_EAGER_LOADING"}),
    ),
)

LIBRARIES = (
    call(
        "cuLibraryLoadData",
        12000,
        SYNCHRONOUS,
        out("library", new(LIBRARY)),
        in_("code", IMAGE),
        in_("jitOptions", Array(JIT_OPTION, "numJitOptions"), optional=True),
        inout("jitOptionsValues", Array(Untyped(), "numJitOptions"), optional=True),
        in_("numJitOptions", UINT),
        in_("libraryOptions", Array(LIBRARY_OPTION, "numLibraryOptions"), optional=True),
        inout("libraryOptionValues", Array(Untyped(), "numLibraryOptions"), optional=True),
        in_("numLibraryOptions", UINT),
        bulk=_image("code"),
        body=_LOADS,
        uses=_SENDS,
    ),
    call(
        "cuLibraryUnload",
        12000,
        ONE_WAY,
        in_("library", destroyed(LIBRARY)),
        body=Same("cuModuleUnload", {"hmod": "library"}),
    ),
    call(
        "cuLibraryGetKernel",
        12000,
        SYNCHRONOUS,
        out("pKernel", new(KERNEL)),
        in_("library", LIBRARY),
        _NAME,
        body=Same("cuModuleGetFunction", {"hfunc": "pKernel", "hmod": "library"}),
    ),
    call(
        "cuLibraryGetKernelCount",
        12040,
        SYNCHRONOUS,
        out("count", UINT),
        in_("lib", LIBRARY),
        body=Same("cuModuleGetFunctionCount", {"mod": "lib"}),
    ),
    call(
        "cuLibraryGetModule",
        12000,
        LOCAL,
        out("pMod", MODULE),
        in_("library", LIBRARY),
        body=Answer({"pMod": "library"}),
    ),
    call(
        "cuLibraryGetGlobal",
        12000,
        SYNCHRONOUS,
        _ADDRESS,
        _BYTES,
        in_("library", LIBRARY),
        _NAME,
        body=Same("cuModuleGetGlobal_v2", {"hmod": "library"}),
    ),
)
