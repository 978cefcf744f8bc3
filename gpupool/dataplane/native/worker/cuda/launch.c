/* Kernel launches. Parameters arrive packed at the offsets that the driver itself told. */
#include <string.h>

#include "wire/cuda/launch_attribute.h"
#include "worker/cuda/module.h"
#include "worker/span.h"

#define ATTRIBUTES 16u

/* Where in the record a launch's parts lie. */
struct parts {
    CUlaunchAttribute attributes[ATTRIBUTES];
    unsigned char *parameters;
};

static bool read_parts(const struct record *record, const struct launch_request *request, struct parts *parts)
{
    uint64_t attribute_bytes = request->attribute_count * sizeof *parts->attributes;
    if (request->attribute_count > ATTRIBUTES ||
        payload_bytes(record, sizeof *request) != attribute_bytes + request->parameter_bytes)
        return false;
    memcpy(parts->attributes, request + 1, attribute_bytes);
    for (uint32_t index = 0; index < request->attribute_count; index++)
        if (!launch_attribute_travels(parts->attributes[index].id))
            return false;
    /* The record is this call's own copy, so parameters may be used in place. */
    parts->parameters = (unsigned char *)(uintptr_t)(request + 1) + attribute_bytes;
    return true;
}

static CUresult submit(struct session *session, const struct launch_request *request, CUfunction function,
                       struct object *stream, struct parts *parts, void **parameters, void **extra)
{
    const uint32_t *grid = request->grid, *block = request->block;
    if (request->cooperative)
        return session->driver.cuLaunchCooperativeKernel(function, grid[0], grid[1], grid[2], block[0], block[1],
                                                         block[2], request->shared_bytes, stream->stream,
                                                         parameters);
    if (request->attribute_count == 0)
        return session->driver.cuLaunchKernel(function, grid[0], grid[1], grid[2], block[0], block[1], block[2],
                                              request->shared_bytes, stream->stream, parameters, extra);
    CUlaunchConfig config = {
        .gridDimX = grid[0], .gridDimY = grid[1], .gridDimZ = grid[2],
        .blockDimX = block[0], .blockDimY = block[1], .blockDimZ = block[2],
        .sharedMemBytes = request->shared_bytes, .hStream = stream->stream,
        .attrs = parts->attributes, .numAttrs = request->attribute_count,
    };
    return session->driver.cuLaunchKernelEx(&config, function, parameters, extra);
}

static CUresult launch(struct session *session, const struct launch_request *request,
                       const struct function *function, struct object *stream, struct parts *parts)
{
    /* Only the thread that takes records launches, so that these need no place on its stack. */
    static void *pointers[MODULE_PARAMETERS];
    size_t bytes = request->parameter_bytes;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, parts->parameters, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                     CU_LAUNCH_PARAM_END};
    if (!function->layout_known)
        return submit(session, request, function->handle, stream, parts, NULL, extra);
    if (bytes < function->parameter_bytes)
        return CUDA_ERROR_INVALID_VALUE;
    for (uint32_t index = 0; index < function->parameter_count; index++)
        pointers[index] = parts->parameters + function->parameters[index].offset;
    return submit(session, request, function->handle, stream, parts, pointers, NULL);
}

CUresult serve_launch(SERVE_ARGUMENTS)
{
    (void)reply;
    const struct launch_request *request = (const void *)(record + 1);
    struct function *function = handle_get(&session->handles, request->function, HANDLE_FUNCTION);
    struct object *stream = stream_object(session, request->stream);
    struct parts parts;
    if (!function || !stream)
        return CUDA_ERROR_INVALID_HANDLE;
    if (!read_parts(record, request, &parts))
        return CUDA_ERROR_INVALID_VALUE;
    span_enter(session, stream);
    CUresult result = launch(session, request, function, stream, &parts);
    span_leave(session, stream);
    return result;
}
