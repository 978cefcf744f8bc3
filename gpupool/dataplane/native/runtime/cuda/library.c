/* Libraries and kernels, the newer names of modules and functions. A library belongs to the device that
 * is current when it is loaded. */
#include "gpupool_calls.h"
#include "runtime/cuda/call.h"

CUresult runtime_cuLibraryUnload(CUlibrary library)
{
    return runtime_cuModuleUnload((CUmodule)library);
}

CUresult runtime_cuLibraryGetKernel(CUkernel *pKernel, CUlibrary library, const char *name)
{
    return runtime_cuModuleGetFunction((CUfunction *)pKernel, (CUmodule)library, name);
}

CUresult runtime_cuLibraryGetModule(CUmodule *pMod, CUlibrary library)
{
    struct call call = {0};
    uint64_t number;
    CUresult result = pMod ? call_handle(&call, HANDLE_MODULE, library, &number) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *pMod = (CUmodule)library;
    return result;
}

CUresult runtime_cuLibraryGetGlobal(CUdeviceptr *dptr, size_t *bytes, CUlibrary library, const char *name)
{
    return runtime_cuModuleGetGlobal_v2(dptr, bytes, (CUmodule)library, name);
}

CUresult runtime_cuKernelGetFunction(CUfunction *pFunc, CUkernel kernel)
{
    struct call call = {0};
    uint64_t number;
    CUresult result = pFunc ? call_handle(&call, HANDLE_FUNCTION, kernel, &number) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *pFunc = (CUfunction)kernel;
    return result;
}

CUresult runtime_cuKernelGetName(const char **name, CUkernel hfunc)
{
    return runtime_cuFuncGetName(name, (CUfunction)hfunc);
}

CUresult runtime_cuKernelGetParamInfo(CUkernel kernel, size_t paramIndex, size_t *paramOffset, size_t *paramSize)
{
    return runtime_cuFuncGetParamInfo((CUfunction)kernel, paramIndex, paramOffset, paramSize);
}

CUresult runtime_cuKernelGetAttribute(int *pi, CUfunction_attribute attrib, CUkernel kernel, CUdevice dev)
{
    (void)dev;
    return runtime_cuFuncGetAttribute(pi, attrib, (CUfunction)kernel);
}

CUresult runtime_cuKernelSetAttribute(CUfunction_attribute attrib, int val, CUkernel kernel, CUdevice dev)
{
    (void)dev;
    return runtime_cuFuncSetAttribute((CUfunction)kernel, attrib, val);
}
