/* Launches: parameters are packed where the device's driver said that it wants them. */
#include <string.h>

#include "attachment/log.h"
#include "gpupool_calls.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/function.h"
#include "runtime/cuda/stream.h"
#include "wire/cuda/launch_attribute.h"
#include "wire/cuda/result.h"

#define ATTRIBUTES 16u

/* One launch, checked before anything of it is put into the ring. */
struct launch {
    struct call call;
    struct function *function; /* counted */
    const CUlaunchConfig *config;
    void **parameters;  /* one pointer each, or ... */
    const void *buffer; /* ... packed by the caller */
    struct launch_request request;
};

static CUresult check_pointers(struct launch *launch)
{
    const struct function *function = launch->function;
    if (!function->layout_known)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (function->parameter_count && !launch->parameters)
        return CUDA_ERROR_INVALID_VALUE;
    for (uint32_t index = 0; index < function->parameter_count; index++)
        if (!launch->parameters[index])
            return CUDA_ERROR_INVALID_VALUE;
    launch->request.parameter_bytes = function->parameter_bytes;
    return CUDA_SUCCESS;
}

/* The caller's own packed buffer: pairs of a key and its value, up to END. */
static CUresult check_buffer(struct launch *launch, void **extra)
{
    size_t size = 0;
    for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
        if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER)
            launch->buffer = extra[1];
        else if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE && extra[1])
            size = *(const size_t *)extra[1];
        else
            return CUDA_ERROR_INVALID_VALUE;
    }
    if ((size && !launch->buffer) || size > RING_RECORD_LIMIT)
        return CUDA_ERROR_INVALID_VALUE;
    if (launch->function->layout_known && size < launch->function->parameter_bytes)
        return CUDA_ERROR_INVALID_VALUE;
    launch->request.parameter_bytes = (uint32_t)size;
    return CUDA_SUCCESS;
}

static CUresult check_attributes(const CUlaunchAttribute *attributes, unsigned count)
{
    if (count > ATTRIBUTES || (count && !attributes))
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned index = 0; index < count; index++) {
        if (launch_attribute_travels(attributes[index].id))
            continue;
        runtime_log("launch attribute %d is not supported", attributes[index].id);
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    return CUDA_SUCCESS;
}

static bool within(const struct snapshot_reply *device, uint64_t value, CUdevice_attribute limit)
{
    return value && (!device->known[limit] || value <= (uint32_t)device->attributes[limit]);
}

/* What a launch can be refused for at once, instead of at a later call. */
static bool fits(const struct snapshot_reply *device, const CUlaunchConfig *config)
{
    uint64_t threads = (uint64_t)config->blockDimX * config->blockDimY;
    return within(device, config->gridDimX, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X) &&
           within(device, config->gridDimY, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y) &&
           within(device, config->gridDimZ, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z) &&
           within(device, config->blockDimX, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X) &&
           within(device, config->blockDimY, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y) &&
           within(device, config->blockDimZ, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z) &&
           within(device, threads * config->blockDimZ, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
}

static void put_parameters(const struct launch *launch, unsigned char *to)
{
    const struct function *function = launch->function;
    if (launch->buffer) {
        memcpy(to, launch->buffer, launch->request.parameter_bytes);
        return;
    }
    for (uint32_t index = 0; launch->parameters && index < function->parameter_count; index++)
        memcpy(to + function->parameters[index].offset, launch->parameters[index], function->parameters[index].bytes);
}

/* Write the record where the worker reads it: the stack of the calling thread may be small. */
static CUresult send(const struct launch *launch)
{
    const struct launch_request *request = &launch->request;
    size_t attributes = request->attribute_count * sizeof *launch->config->attrs;
    size_t bytes = sizeof *request + attributes + request->parameter_bytes;
    unsigned char *to;
    CUresult result = cuda_result(session_begin(launch->call.session, CALL_launch, bytes, &to));
    if (result != CUDA_SUCCESS)
        return result;
    memcpy(to, request, sizeof *request);
    if (attributes)
        memcpy(to + sizeof *request, launch->config->attrs, attributes);
    put_parameters(launch, to + sizeof *request + attributes);
    session_commit(launch->call.session, bytes);
    return CUDA_SUCCESS;
}

static CUresult check(struct launch *launch, void **extra, bool per_thread)
{
    const CUlaunchConfig *config = launch->config;
    CUresult result = call_stream(&launch->call, config->hStream, per_thread, &launch->request.stream);
    if (result != CUDA_SUCCESS)
        return result;
    if (!fits(&launch->call.session->device->snapshot, config) || (launch->parameters && extra))
        return CUDA_ERROR_INVALID_VALUE;
    result = check_attributes(config->attrs, config->numAttrs);
    if (result != CUDA_SUCCESS)
        return result;
    return extra ? check_buffer(launch, extra) : check_pointers(launch);
}

static CUresult launch(const CUlaunchConfig *config, CUfunction f, void **parameters, void **extra,
                       bool cooperative, bool per_thread)
{
    struct launch launch = {
        .config = config, .parameters = parameters,
        .request = {
            .grid = {config->gridDimX, config->gridDimY, config->gridDimZ},
            .block = {config->blockDimX, config->blockDimY, config->blockDimZ},
            .shared_bytes = config->sharedMemBytes, .attribute_count = config->numAttrs,
            .cooperative = cooperative,
        },
    };
    CUresult result = call_function(&launch.call, f, &launch.request.function, &launch.function);
    if (result != CUDA_SUCCESS)
        return result;
    result = check(&launch, extra, per_thread);
    if (result == CUDA_SUCCESS)
        result = send(&launch);
    function_release(launch.function);
    return result;
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
