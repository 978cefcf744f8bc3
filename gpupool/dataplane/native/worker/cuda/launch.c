/* Kernel launches. Parameters arrive packed at the offsets that the driver itself told. */
#include "worker/cuda/launch.h"

#include <string.h>

#include "gpupool_messages.h"
#include "wire/cuda/launch_attribute.h"
#include "wire/cuda/result.h"
#include "worker/cuda/device.h"
#include "worker/cuda/handles.h"
#include "worker/session.h"

#define ATTRIBUTES 16u

/* Where in the record a launch's parts lie. */
struct parts {
    CUlaunchAttribute attributes[ATTRIBUTES];
    unsigned char *parameters;
};

static bool read_parts(const struct launch_request *request, struct parts *parts)
{
    uint64_t attribute_bytes = request->attribute_count * sizeof *parts->attributes;
    if (request->attribute_count > ATTRIBUTES)
        return false;
    memcpy(parts->attributes, request + 1, attribute_bytes);
    for (uint32_t index = 0; index < request->attribute_count; index++)
        if (!launch_attribute_travels(parts->attributes[index].id))
            return false;
    /* The record is this call's own copy, so parameters may be used in place. */
    parts->parameters = (unsigned char *)(uintptr_t)(request + 1) + attribute_bytes;
    return true;
}

static CUresult submit(const struct driver *driver, const struct launch_request *request, CUfunction function,
                       CUstream stream, struct parts *parts, void **parameters, void **extra)
{
    const uint32_t *grid = request->grid, *block = request->block;
    if (request->cooperative)
        return driver->cuLaunchCooperativeKernel(function, grid[0], grid[1], grid[2], block[0], block[1], block[2],
                                                 request->shared_bytes, stream, parameters);
    if (request->attribute_count == 0)
        return driver->cuLaunchKernel(function, grid[0], grid[1], grid[2], block[0], block[1], block[2],
                                      request->shared_bytes, stream, parameters, extra);
    CUlaunchConfig config = {
        .gridDimX = grid[0], .gridDimY = grid[1], .gridDimZ = grid[2],
        .blockDimX = block[0], .blockDimY = block[1], .blockDimZ = block[2],
        .sharedMemBytes = request->shared_bytes, .hStream = stream,
        .attrs = parts->attributes, .numAttrs = request->attribute_count,
    };
    return driver->cuLaunchKernelEx(&config, function, parameters, extra);
}

static CUresult launch(const struct driver *driver, const struct launch_request *request,
                       const struct function *function, CUstream stream, struct parts *parts)
{
    /* Only the thread that takes records launches, so that these need no place on its stack. */
    static void *pointers[MODULE_PARAMETERS];
    size_t bytes = request->parameter_bytes;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, parts->parameters, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                     CU_LAUNCH_PARAM_END};
    if (!function->layout_known)
        return submit(driver, request, function->handle, stream, parts, NULL, extra);
    if (bytes < function->parameter_bytes)
        return CUDA_ERROR_INVALID_VALUE;
    for (uint32_t index = 0; index < function->parameter_count; index++)
        pointers[index] = parts->parameters + function->parameters[index].offset;
    return submit(driver, request, function->handle, stream, parts, pointers, NULL);
}

enum result launch_function(struct device *device, void *function, const struct record *record,
                            struct stream *stream)
{
    const struct launch_request *request = (const void *)(record + 1);
    struct parts parts;
    if (!read_parts(request, &parts))
        return RESULT_INVALID_VALUE;
    return result_of(launch(&device->driver, request, function, (CUstream)stream, &parts));
}
