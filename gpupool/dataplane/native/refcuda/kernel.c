/* What programs ask of kernels. */
#include "refcuda/api.h"
#include "refcuda/library.h"

API CUresult cuKernelGetFunction(CUfunction *function, CUkernel handle)
{
    return function ? library_function(handle, function) : CUDA_ERROR_INVALID_VALUE;
}

API CUresult cuKernelGetLibrary(CUlibrary *library, CUkernel handle)
{
    HELD struct kernel *kernel = NULL;
    CUresult result = kernel_acquire(handle, &kernel);
    if (result)
        return result;
    if (!library)
        return CUDA_ERROR_INVALID_VALUE;
    *library = kernel_library(kernel);
    return CUDA_SUCCESS;
}

API CUresult cuKernelGetName(const char **name, CUkernel handle)
{
    HELD struct kernel *kernel = NULL;
    CUresult result = kernel_acquire(handle, &kernel);
    if (result)
        return result;
    if (!name)
        return CUDA_ERROR_INVALID_VALUE;
    *name = kernel->description->name;
    return CUDA_SUCCESS;
}

API CUresult cuKernelGetParamInfo(CUkernel handle, size_t index, size_t *offset, size_t *size)
{
    HELD struct kernel *kernel = NULL;
    CUresult result = kernel_acquire(handle, &kernel);
    return result ? result : kernel_parameter(kernel->description, index, offset, size);
}

/* Attributes are kept by function, so by context; a kernel's are those of its function in the current one. */
API CUresult cuKernelGetAttribute(int *value, CUfunction_attribute attribute, CUkernel handle, CUdevice device)
{
    CUfunction function;
    CUresult result = library_function(handle, &function);
    (void)device;
    return result ? result : cuFuncGetAttribute(value, attribute, function);
}

API CUresult cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel handle, CUdevice device)
{
    CUfunction function;
    CUresult result = library_function(handle, &function);
    (void)device;
    return result ? result : cuFuncSetAttribute(function, attribute, value);
}
