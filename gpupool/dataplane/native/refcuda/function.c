/* What functions are asked and told. */
#include "refcuda/api.h"
#include "refcuda/compute.h"
#include "refcuda/context.h"
#include "refcuda/current.h"
#include "refcuda/driver.h"
#include "refcuda/library.h"
#include "refcuda/module.h"

CUresult function_acquire(CUfunction handle, struct function **function)
{
    CUfunction found;
    CUresult result = driver_ready();
    if (result)
        return result;
    if ((*function = object_acquire(KIND_FUNCTION, handle)))
        return CUDA_SUCCESS;
    if (!library_function((CUkernel)handle, &found))
        *function = object_acquire(KIND_FUNCTION, found);
    return *function ? CUDA_SUCCESS
                     : refuse(CUDA_ERROR_INVALID_HANDLE, "no function has the handle %p", (void *)handle);
}

CUresult kernel_parameter(const struct refcuda_kernel *kernel, size_t index, size_t *offset, size_t *size)
{
    if (index >= kernel->parameter_count || !offset)
        return CUDA_ERROR_INVALID_VALUE;
    *offset = kernel->parameters[index].offset;
    if (size)
        *size = kernel->parameters[index].size;
    return CUDA_SUCCESS;
}

API CUresult cuFuncGetParamInfo(CUfunction handle, size_t index, size_t *offset, size_t *size)
{
    HELD struct function *function = NULL;
    CUresult result = function_acquire(handle, &function);
    return result ? result : kernel_parameter(function->kernel, index, offset, size);
}

API CUresult cuFuncGetName(const char **name, CUfunction handle)
{
    HELD struct function *function = NULL;
    CUresult result = function_acquire(handle, &function);
    if (result)
        return result;
    if (!name)
        return CUDA_ERROR_INVALID_VALUE;
    *name = function->kernel->name;
    return CUDA_SUCCESS;
}

API CUresult cuFuncGetModule(CUmodule *module, CUfunction handle)
{
    HELD struct function *function = NULL;
    CUresult result = function_acquire(handle, &function);
    if (result)
        return result;
    if (!module)
        return CUDA_ERROR_INVALID_VALUE;
    *module = function->module->object.handle;
    return CUDA_SUCCESS;
}

API CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction handle)
{
    HELD struct function *function = NULL;
    CUresult result = function_acquire(handle, &function);
    if (result)
        return result;
    if (!value || (unsigned)attribute > CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE)
        return refuse(CUDA_ERROR_INVALID_VALUE, "there is no function attribute %d", (int)attribute);
    *value = 0;
    if (attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK)
        *value = LARGEST_BLOCK;
    if (attribute == CU_FUNC_ATTRIBUTE_NUM_REGS)
        *value = 32;
    if (attribute == CU_FUNC_ATTRIBUTE_PTX_VERSION || attribute == CU_FUNC_ATTRIBUTE_BINARY_VERSION)
        *value = 80; /* ten times the compute capability */
    if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
        *value = atomic_load(&function->dynamic_shared);
    if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT)
        *value = atomic_load(&function->carveout);
    return CUDA_SUCCESS;
}

API CUresult cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute, int value)
{
    HELD struct function *function = NULL;
    CUresult result = function_acquire(handle, &function);
    if (result)
        return result;
    if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES && value >= 0 && value <= SHARED_LARGEST)
        atomic_store(&function->dynamic_shared, value);
    else if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT && value >= -1 && value <= 100)
        atomic_store(&function->carveout, value);
    else
        return refuse(CUDA_ERROR_INVALID_VALUE, "function attribute %d cannot be %d", (int)attribute, value);
    return CUDA_SUCCESS;
}

/* A hint about caches this device does not have. */
API CUresult cuFuncSetCacheConfig(CUfunction handle, CUfunc_cache config)
{
    HELD struct function *function = NULL;
    CUresult result = function_acquire(handle, &function);
    if (result)
        return result;
    return (unsigned)config <= CU_FUNC_CACHE_PREFER_EQUAL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* A compute unit runs one block at a time, whatever its size. */
static CUresult fitting_blocks(CUfunction handle, int block_size, size_t shared, int *blocks)
{
    HELD struct function *function = NULL;
    CUresult result = function_acquire(handle, &function);
    if (result)
        return result;
    if (!blocks || block_size <= 0)
        return CUDA_ERROR_INVALID_VALUE;
    *blocks = block_size <= LARGEST_BLOCK && shared <= (size_t)atomic_load(&function->dynamic_shared);
    return CUDA_SUCCESS;
}

API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction handle, int block_size, size_t shared)
{
    return fitting_blocks(handle, block_size, shared, blocks);
}

API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction handle, int block_size,
                                                                  size_t shared, unsigned int flags)
{
    return flags > 1 ? CUDA_ERROR_INVALID_VALUE : fitting_blocks(handle, block_size, shared, blocks);
}

API CUresult cuOccupancyMaxPotentialBlockSizeWithFlags(int *grid_size, int *block_size, CUfunction handle,
                                                       CUoccupancyB2DSize shared_of, size_t shared, int limit,
                                                       unsigned int flags)
{
    HELD struct context *context = NULL;
    int size = limit > 0 && limit < LARGEST_BLOCK ? limit : LARGEST_BLOCK, blocks = 0;
    CUresult result = context_current(&context);
    if (result)
        return result;
    if (!grid_size || !block_size || flags > 1)
        return CUDA_ERROR_INVALID_VALUE;
    for (; size > 0 && !blocks; size -= !blocks)
        if ((result = fitting_blocks(handle, size, shared_of ? shared_of(size) : shared, &blocks)))
            return result;
    *block_size = size;
    *grid_size = blocks ? (int)context->device->units : 0;
    return CUDA_SUCCESS;
}

API CUresult cuOccupancyMaxPotentialBlockSize(int *grid_size, int *block_size, CUfunction handle,
                                              CUoccupancyB2DSize shared_of, size_t shared, int limit)
{
    return cuOccupancyMaxPotentialBlockSizeWithFlags(grid_size, block_size, handle, shared_of, shared, limit, 0);
}
