/* Launches of kernels. */
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "refcuda/api.h"
#include "refcuda/compute.h"
#include "refcuda/context.h"
#include "refcuda/driver.h"
#include "refcuda/module.h"
#include "refcuda/queue.h"
#include "refcuda/thread.h"

struct launch {
    struct work work;
    struct function *function; /* counted: the code stays loaded */
    struct compute *compute;   /* there as long as the stream's context is */
    struct grid grid;
    alignas(max_align_t) char arguments[];
};

static CUresult launch_run(struct work *work)
{
    struct launch *launch = (struct launch *)work;
    return compute_run(launch->compute, &launch->grid) ? CUDA_SUCCESS : CUDA_ERROR_LAUNCH_FAILED;
}

static void launch_dispose(struct work *work)
{
    object_release(((struct launch *)work)->function);
    free(work);
}

/* Each dimension within its limit, and threads in a block. */
static CUresult check_size(const CUlaunchConfig *config)
{
    uint64_t threads = (uint64_t)config->blockDimX * config->blockDimY;
    if (!config->gridDimX || !config->gridDimY || !config->gridDimZ || config->gridDimX > 0x7fffffff ||
        config->gridDimY > 65535 || config->gridDimZ > 65535)
        return refuse(CUDA_ERROR_INVALID_VALUE, "grid is %u x %u x %u; allowed: 1 to 2147483647 x 65535 x 65535",
                      config->gridDimX, config->gridDimY, config->gridDimZ);
    if (!threads || !config->blockDimZ || threads > LARGEST_BLOCK || config->blockDimZ > 64 ||
        threads * config->blockDimZ > LARGEST_BLOCK)
        return refuse(CUDA_ERROR_INVALID_VALUE, "block is %u x %u x %u; allowed: 1 to %d threads, 64 in z",
                      config->blockDimX, config->blockDimY, config->blockDimZ, LARGEST_BLOCK);
    return CUDA_SUCCESS;
}

/* The attributes that change what a launch does; the others are hints. */
static CUresult check_attribute(const CUlaunchAttribute *attribute)
{
    static const uint64_t hints = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 14;
    const uint64_t one_by_one = (uint64_t)1 << 32 | 1;
    if (attribute->id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE && !attribute->value.cooperative)
        return CUDA_SUCCESS;
    if (attribute->id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION && attribute->value.words[0] == one_by_one &&
        (uint32_t)attribute->value.words[1] == 1)
        return CUDA_SUCCESS;
    if (attribute->id >= 0 && attribute->id < 64 && hints >> attribute->id & 1)
        return CUDA_SUCCESS;
    return refuse(CUDA_ERROR_NOT_SUPPORTED, "launch attribute %d", attribute->id);
}

/* Packed by the program: pairs of what it is and its value. */
static CUresult unpack_extra(const struct refcuda_kernel *kernel, void **extra, char *arguments)
{
    const void *bytes = NULL;
    size_t size = 0;
    for (size_t i = 0; extra[i] != CU_LAUNCH_PARAM_END; i += 2) {
        if (extra[i] == CU_LAUNCH_PARAM_BUFFER_POINTER)
            bytes = extra[i + 1];
        else if (extra[i] == CU_LAUNCH_PARAM_BUFFER_SIZE)
            size = extra[i + 1] ? *(const size_t *)extra[i + 1] : 0;
        else
            return refuse(CUDA_ERROR_INVALID_VALUE, "extra launch parameter %p", extra[i]);
    }
    for (size_t i = 0; i < kernel->parameter_count; i++)
        if (!bytes || size < kernel->parameters[i].offset + kernel->parameters[i].size)
            return refuse(CUDA_ERROR_INVALID_VALUE, "kernel %s: %zu bytes do not hold parameter %zu", kernel->name,
                          size, i);
    if (bytes)
        memcpy(arguments, bytes, size < kernel->arguments_size ? size : kernel->arguments_size);
    return CUDA_SUCCESS;
}

static CUresult gather(const struct refcuda_kernel *kernel, void **parameters, void **extra, char *arguments)
{
    if (parameters && extra)
        return refuse(CUDA_ERROR_INVALID_VALUE, "both kernelParams and extra are given");
    if (extra)
        return unpack_extra(kernel, extra, arguments);
    for (size_t i = 0; i < kernel->parameter_count; i++) {
        if (!parameters || !parameters[i])
            return refuse(CUDA_ERROR_INVALID_VALUE, "kernel %s: parameter %zu is missing", kernel->name, i);
        memcpy(arguments + kernel->parameters[i].offset, parameters[i], kernel->parameters[i].size);
    }
    return CUDA_SUCCESS;
}

static struct launch *launch_new(struct function *function, const CUlaunchConfig *config, const struct stream *stream)
{
    struct launch *launch = calloc(1, sizeof *launch + function->kernel->arguments_size);
    if (!launch)
        return NULL;
    launch->work = (struct work){.run = launch_run, .dispose = launch_dispose};
    launch->function = object_retain(function);
    launch->grid = (struct grid){
        .run = function->kernel->run,
        .arguments = launch->arguments,
        .gridDim = {config->gridDimX, config->gridDimY, config->gridDimZ},
        .blockDim = {config->blockDimX, config->blockDimY, config->blockDimZ},
        .shared_bytes = config->sharedMemBytes,
        .priority = stream->priority,
    };
    for (unsigned int i = 0; i < config->numAttrs; i++)
        if (config->attrs[i].id == CU_LAUNCH_ATTRIBUTE_PRIORITY)
            launch->grid.priority = config->attrs[i].value.priority;
    return launch;
}

static CUresult check(const CUlaunchConfig *config, struct function *function, const struct stream *stream)
{
    CUresult result = check_size(config);
    if (result)
        return result;
    if (config->sharedMemBytes > (unsigned)atomic_load(&function->dynamic_shared))
        return refuse(CUDA_ERROR_INVALID_VALUE, "%u bytes of shared memory; allowed: %d", config->sharedMemBytes,
                      atomic_load(&function->dynamic_shared));
    if (config->numAttrs && !config->attrs)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned int i = 0; i < config->numAttrs; i++)
        if ((result = check_attribute(&config->attrs[i])))
            return result;
    if (function->object.owner != stream->object.owner)
        return refuse(CUDA_ERROR_INVALID_HANDLE, "function and stream are of two contexts");
    return CUDA_SUCCESS;
}

/* The compute units of the stream's device; NULL when its context is ending. */
static struct compute *compute_of(const struct stream *stream)
{
    struct compute *compute;
    pthread_mutex_lock(&streams_lock);
    compute = stream->closed ? NULL : stream->context->device->compute;
    pthread_mutex_unlock(&streams_lock);
    return compute;
}

static CUresult launch_kernel_ex(enum null_stream null, const CUlaunchConfig *config, CUfunction handle,
                                 void **parameters, void **extra)
{
    HELD struct function *function = NULL;
    HELD struct stream *stream = NULL;
    struct launch *launch;
    CUresult result = function_acquire(handle, &function);
    if (result)
        return result;
    if (!config)
        return CUDA_ERROR_INVALID_VALUE;
    if ((result = stream_acquire(config->hStream, null, &stream)) || (result = check(config, function, stream)))
        return result;
    if (!(launch = launch_new(function, config, stream)))
        return CUDA_ERROR_OUT_OF_MEMORY;
    launch->compute = compute_of(stream);
    if (!launch->compute)
        result = CUDA_ERROR_INVALID_HANDLE;
    else
        result = gather(function->kernel, parameters, extra, launch->arguments);
    if (result) {
        launch_dispose(&launch->work);
        return result;
    }
    return stream_submit(stream, &launch->work, NULL);
}
TWIN(cuLaunchKernelEx, _ptsz, launch_kernel_ex,
     (const CUlaunchConfig *config, CUfunction function, void **parameters, void **extra), config, function,
     parameters, extra)

static CUresult launch_kernel(enum null_stream null, CUfunction function, unsigned int grid_x, unsigned int grid_y,
                              unsigned int grid_z, unsigned int block_x, unsigned int block_y, unsigned int block_z,
                              unsigned int shared, CUstream stream, void **parameters, void **extra)
{
    CUlaunchConfig config = {grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, NULL, 0};
    return launch_kernel_ex(null, &config, function, parameters, extra);
}
TWIN(cuLaunchKernel, _ptsz, launch_kernel,
     (CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z, unsigned int block_x,
      unsigned int block_y, unsigned int block_z, unsigned int shared, CUstream stream, void **parameters,
      void **extra),
     function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, parameters, extra)
