/* Launches: parameters are packed where the device's driver said that it wants them. */
#include <string.h>

#include "runtime/runtime.h"
#include "wire/launch_attribute.h"

#define ATTRIBUTES 16u

/* The packed parameters of one launch, behind its attributes. */
struct packed {
    unsigned char bytes[RING_RECORD_LIMIT - sizeof(struct record) - sizeof(struct launch_request)];
    size_t attributes, parameters; /* sizes */
};

static CUresult pack_pointers(struct packed *packed, const struct function *function, void **parameters)
{
    unsigned char *to = packed->bytes + packed->attributes;
    if (!function->layout_known)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (function->parameter_count && !parameters)
        return CUDA_ERROR_INVALID_VALUE;
    if (packed->attributes + function->parameter_bytes > sizeof packed->bytes)
        return CUDA_ERROR_INVALID_VALUE;
    for (uint32_t index = 0; index < function->parameter_count; index++) {
        if (!parameters[index])
            return CUDA_ERROR_INVALID_VALUE;
        memcpy(to + function->parameters[index].offset, parameters[index], function->parameters[index].bytes);
    }
    packed->parameters = function->parameter_bytes;
    return CUDA_SUCCESS;
}

/* The caller's own packed buffer: pairs of a key and its value, up to END. */
static CUresult pack_buffer(struct packed *packed, const struct function *function, void **extra)
{
    const void *buffer = NULL;
    size_t size = 0;
    for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
        if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER)
            buffer = extra[1];
        else if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE && extra[1])
            size = *(const size_t *)extra[1];
        else
            return CUDA_ERROR_INVALID_VALUE;
    }
    if ((size && !buffer) || packed->attributes + size > sizeof packed->bytes)
        return CUDA_ERROR_INVALID_VALUE;
    if (function->layout_known && size < function->parameter_bytes)
        return CUDA_ERROR_INVALID_VALUE;
    if (size)
        memcpy(packed->bytes + packed->attributes, buffer, size);
    packed->parameters = size;
    return CUDA_SUCCESS;
}

static CUresult pack_attributes(struct packed *packed, const CUlaunchAttribute *attributes, unsigned count)
{
    packed->attributes = 0;
    if (count > ATTRIBUTES || (count && !attributes))
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned index = 0; index < count; index++) {
        if (launch_attribute_travels(attributes[index].id))
            continue;
        runtime_log("launch attribute %d is not supported", attributes[index].id);
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    if (count)
        memcpy(packed->bytes, attributes, count * sizeof *attributes);
    packed->attributes = count * sizeof *attributes;
    return CUDA_SUCCESS;
}

static bool within(const struct session *session, uint64_t value, CUdevice_attribute limit)
{
    return value && (!session->snapshot.known[limit] || value <= (uint32_t)session->snapshot.attributes[limit]);
}

/* What a launch can be refused for at once, instead of at a later call. */
static bool fits(const struct session *session, const CUlaunchConfig *config)
{
    uint64_t threads = (uint64_t)config->blockDimX * config->blockDimY;
    return within(session, config->gridDimX, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X) &&
           within(session, config->gridDimY, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y) &&
           within(session, config->gridDimZ, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z) &&
           within(session, config->blockDimX, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X) &&
           within(session, config->blockDimY, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y) &&
           within(session, config->blockDimZ, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z) &&
           within(session, threads * config->blockDimZ, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
}

static CUresult send(struct call *call, const CUlaunchConfig *config, uint64_t function, uint64_t stream,
                     bool cooperative, const struct packed *packed)
{
    struct launch_request request = {
        .function = function, .stream = stream,
        .grid = {config->gridDimX, config->gridDimY, config->gridDimZ},
        .block = {config->blockDimX, config->blockDimY, config->blockDimZ},
        .shared_bytes = config->sharedMemBytes, .attribute_count = config->numAttrs,
        .parameter_bytes = (uint32_t)packed->parameters, .cooperative = cooperative,
    };
    return call_send(call, CALL_launch, &request, sizeof request, packed->bytes,
                     packed->attributes + packed->parameters);
}

static CUresult launch(const CUlaunchConfig *config, CUfunction f, void **parameters, void **extra,
                       bool cooperative, bool per_thread)
{
    struct call call = {0};
    struct packed packed;
    uint64_t number, stream;
    CUresult result = call_handle(&call, HANDLE_FUNCTION, f, &number);
    if (result == CUDA_SUCCESS)
        result = call_stream(&call, config->hStream, per_thread, &stream);
    if (result != CUDA_SUCCESS)
        return result;
    const struct function *function = call_object(&call, HANDLE_FUNCTION, number);
    if (!function)
        return CUDA_ERROR_INVALID_HANDLE;
    if (!fits(call.session, config) || (parameters && extra))
        return CUDA_ERROR_INVALID_VALUE;
    result = pack_attributes(&packed, config->attrs, config->numAttrs);
    if (result == CUDA_SUCCESS)
        result = extra ? pack_buffer(&packed, function, extra) : pack_pointers(&packed, function, parameters);
    return result == CUDA_SUCCESS ? send(&call, config, number, stream, cooperative, &packed) : result;
}

CUresult runtime_cuLaunchKernel(CUfunction f, unsigned int gridDimX, unsigned int gridDimY, unsigned int gridDimZ,
                                unsigned int blockDimX, unsigned int blockDimY, unsigned int blockDimZ,
                                unsigned int sharedMemBytes, CUstream hStream, void **kernelParams, void **extra,
                                bool per_thread)
{
    CUlaunchConfig config = {gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ,
                             sharedMemBytes, hStream, NULL, 0};
    return launch(&config, f, kernelParams, extra, false, per_thread);
}

CUresult runtime_cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction f, void **kernelParams, void **extra,
                                  bool per_thread)
{
    return config ? launch(config, f, kernelParams, extra, false, per_thread) : CUDA_ERROR_INVALID_VALUE;
}

CUresult runtime_cuLaunchCooperativeKernel(CUfunction f, unsigned int gridDimX, unsigned int gridDimY,
                                           unsigned int gridDimZ, unsigned int blockDimX, unsigned int blockDimY,
                                           unsigned int blockDimZ, unsigned int sharedMemBytes, CUstream hStream,
                                           void **kernelParams, bool per_thread)
{
    CUlaunchConfig config = {gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ,
                             sharedMemBytes, hStream, NULL, 0};
    return launch(&config, f, kernelParams, NULL, true, per_thread);
}

/* --- what the runtime knows of a function --- */

static CUresult find(CUfunction handle, const struct function **function, struct call *call)
{
    uint64_t number;
    CUresult result = call_handle(call, HANDLE_FUNCTION, handle, &number);
    *function = result == CUDA_SUCCESS ? call_object(call, HANDLE_FUNCTION, number) : NULL;
    return result == CUDA_SUCCESS && !*function ? CUDA_ERROR_INVALID_HANDLE : result;
}

CUresult runtime_cuFuncGetParamInfo(CUfunction func, size_t paramIndex, size_t *paramOffset, size_t *paramSize)
{
    const struct function *function;
    struct call call = {0};
    CUresult result = paramOffset ? find(func, &function, &call) : CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS)
        return result;
    if (!function->layout_known)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (paramIndex >= function->parameter_count)
        return CUDA_ERROR_INVALID_VALUE;
    *paramOffset = function->parameters[paramIndex].offset;
    if (paramSize)
        *paramSize = function->parameters[paramIndex].bytes;
    return CUDA_SUCCESS;
}

CUresult runtime_cuFuncGetParamCount(CUfunction func, size_t *paramCount)
{
    const struct function *function;
    struct call call = {0};
    CUresult result = paramCount ? find(func, &function, &call) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS && !function->layout_known)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (result == CUDA_SUCCESS)
        *paramCount = function->parameter_count;
    return result;
}

CUresult runtime_cuFuncGetName(const char **name, CUfunction hfunc)
{
    const struct function *function;
    struct call call = {0};
    CUresult result = name ? find(hfunc, &function, &call) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *name = function->name;
    return result;
}

CUresult runtime_cuFuncGetModule(CUmodule *hmod, CUfunction hfunc)
{
    const struct function *function;
    struct call call = {0};
    CUresult result = hmod ? find(hfunc, &function, &call) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *hmod = (CUmodule)public_handle(call.session, HANDLE_MODULE, function->module);
    return result;
}
