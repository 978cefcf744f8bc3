"""Modules and libraries.

A library is loaded on one vGPU only: that of the current context, the first one when none is current.
With several vGPUs, its kernels can't be launched, nor its globals be reached, on another than that: they
are CUDA_ERROR_INVALID_HANDLE there. Load the library, or a module, once per vGPU instead.
"""

from gpupool.dataplane.api.entry import LOCAL, ONE_WAY, SYNCHRONOUS, call

_LOAD = ("image_part", "module_load")
MODULES = (
    call("cuModuleLoad", 2000, SYNCHRONOUS, "CUmodule *module, const char *fname", uses=_LOAD),
    call("cuModuleLoadData", 2000, SYNCHRONOUS, "CUmodule *module, const void *image", uses=_LOAD),
    call(
        "cuModuleLoadDataEx",
        2010,
        SYNCHRONOUS,
        "CUmodule *module, const void *image, unsigned int numOptions, CUjit_option *options, "
        "void **optionValues",
        uses=_LOAD,
    ),
    call(
        "cuModuleLoadFatBinary", 2000, SYNCHRONOUS, "CUmodule *module, const void *fatCubin", uses=_LOAD
    ),
    call("cuModuleUnload", 2000, ONE_WAY, "CUmodule hmod", uses=("module_unload",)),
    call(
        "cuModuleGetFunction",
        2000,
        SYNCHRONOUS,
        "CUfunction *hfunc, CUmodule hmod, const char *name",
        uses=("module_function",),
    ),
    call(
        "cuModuleGetGlobal",
        3020,
        SYNCHRONOUS,
        "CUdeviceptr *dptr, size_t *bytes, CUmodule hmod, const char *name",
        symbol="cuModuleGetGlobal_v2",
        uses=("module_global",),
    ),
    call("cuModuleGetLoadingMode", 11070, LOCAL, "CUmoduleLoadingMode *mode"),
    call(
        "cuLibraryLoadData",
        12000,
        SYNCHRONOUS,
        "CUlibrary *library, const void *code, CUjit_option *jitOptions, void **jitOptionsValues, "
        "unsigned int numJitOptions, CUlibraryOption *libraryOptions, void **libraryOptionValues, "
        "unsigned int numLibraryOptions",
        uses=_LOAD,
    ),
    call("cuLibraryUnload", 12000, ONE_WAY, "CUlibrary library", uses=("module_unload",)),
    call(
        "cuLibraryGetKernel",
        12000,
        SYNCHRONOUS,
        "CUkernel *pKernel, CUlibrary library, const char *name",
        uses=("module_function",),
    ),
    call("cuLibraryGetModule", 12000, LOCAL, "CUmodule *pMod, CUlibrary library"),
    call(
        "cuLibraryGetGlobal",
        12000,
        SYNCHRONOUS,
        "CUdeviceptr *dptr, size_t *bytes, CUlibrary library, const char *name",
        uses=("module_global",),
    ),
)
