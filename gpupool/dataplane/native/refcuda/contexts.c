/* The life of contexts, and which is current. */
#include "refcuda/contexts.h"

#include <stdlib.h>

#include "refcuda/api.h"
#include "refcuda/context.h"
#include "refcuda/current.h"
#include "refcuda/driver.h"
#include "refcuda/memory.h"
#include "refcuda/queue.h"
#include "refcuda/stream.h"

static atomic_uint_least64_t last_id;

static void context_destroy(struct object *object)
{
    struct context *context = (struct context *)object;
    object_release(context->legacy);
    device_leave(context->device);
    pthread_cond_destroy(&context->emptied);
    free(context);
}

static void set_limits(struct context *context)
{
    static const size_t limits[LIMITS] = {
        [CU_LIMIT_STACK_SIZE] = 1024,
        [CU_LIMIT_PRINTF_FIFO_SIZE] = 1 << 20,
        [CU_LIMIT_MALLOC_HEAP_SIZE] = 8 << 20,
        [CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH] = 2,
        [CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT] = 2048,
        [CU_LIMIT_MAX_L2_FETCH_GRANULARITY] = 64,
    };
    for (int i = 0; i < LIMITS; i++)
        atomic_init(&context->limits[i], limits[i]);
}

/* Not yet published, with its device in use. */
static CUresult context_make(struct device *device, struct context **out)
{
    struct context *context = calloc(1, sizeof *context);
    CUresult result;
    if (!context)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if ((result = device_use(device))) {
        free(context);
        return result;
    }
    object_init(&context->object, KIND_CONTEXT, NULL, context_destroy);
    pthread_cond_init(&context->emptied, NULL);
    context->device = device;
    context->id = atomic_fetch_add(&last_id, 1) + 1;
    set_limits(context);
    if (!(context->legacy = stream_new(context, CU_STREAM_DEFAULT, 0))) {
        device_leave(device);
        free(context);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *out = context;
    return CUDA_SUCCESS;
}

CUresult context_new(struct device *device, unsigned flags, bool primary, CUcontext *handle)
{
    struct context *context;
    CUcontext made;
    CUresult result;
    if (flags & ~(unsigned)CU_CTX_FLAGS_MASK || (flags & CU_CTX_SCHED_MASK) > CU_CTX_SCHED_BLOCKING_SYNC)
        return refuse(CUDA_ERROR_INVALID_VALUE, "there are no context flags %#x", flags);
    if ((result = context_make(device, &context)))
        return result;
    context->flags = flags;
    context->primary = primary;
    if (!(made = object_publish(&context->object))) {
        object_release(context);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *handle = made;
    return CUDA_SUCCESS;
}

CUresult context_end(CUcontext handle)
{
    static const enum kind owned[] = {KIND_STREAM, KIND_EVENT, KIND_FUNCTION, KIND_MODULE};
    struct context *context = object_retire(KIND_CONTEXT, handle);
    void *object;
    if (!context)
        return refuse(CUDA_ERROR_INVALID_CONTEXT, "no context has the handle %p", (void *)handle);
    streams_end(context);
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        while ((object = object_retire_owned(owned[i], context)))
            object_release(object);
    memory_free_owned(context);
    object_release(context);
    return CUDA_SUCCESS;
}

API CUresult cuCtxCreate_v2(CUcontext *out, unsigned int flags, CUdevice ordinal)
{
    struct device *device;
    CUcontext made;
    CUresult result = driver_ready();
    if (result)
        return result;
    if (!out)
        return CUDA_ERROR_INVALID_VALUE;
    if (!(device = device_find(ordinal)))
        return CUDA_ERROR_INVALID_DEVICE;
    if ((result = context_new(device, flags, false, &made)))
        return result;
    if (!context_push(made)) {
        context_end(made);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *out = made;
    return CUDA_SUCCESS;
}
ALSO(cuCtxCreate, cuCtxCreate_v2)

API CUresult cuCtxCreate_v3(CUcontext *out, CUexecAffinityParam *affinity, int number, unsigned int flags,
                            CUdevice ordinal)
{
    if (affinity || number)
        return refuse(CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY, "the reference device has no execution affinity");
    return cuCtxCreate_v2(out, flags, ordinal);
}

API CUresult cuCtxCreate_v4(CUcontext *out, CUctxCreateParams *parameters, unsigned int flags, CUdevice ordinal)
{
    if (parameters && parameters->cigParams)
        return refuse(CUDA_ERROR_NOT_SUPPORTED, "the reference device shares nothing with graphics");
    return cuCtxCreate_v3(out, parameters ? parameters->execAffinityParams : NULL,
                          parameters ? parameters->numExecAffinityParams : 0, flags, ordinal);
}

API CUresult cuCtxDestroy_v2(CUcontext handle)
{
    HELD struct context *context = NULL;
    CUresult result = context_acquire(handle, &context);
    if (result)
        return result;
    if (context->primary)
        return refuse(CUDA_ERROR_INVALID_CONTEXT, "cuCtxDestroy of a primary context");
    if (context_top() == handle)
        context_pop();
    return context_end(handle);
}
ALSO(cuCtxDestroy, cuCtxDestroy_v2)

API CUresult cuCtxPushCurrent_v2(CUcontext handle)
{
    HELD struct context *context = NULL;
    CUresult result = context_acquire(handle, &context);
    if (result)
        return result;
    return context_push(handle) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
ALSO(cuCtxPushCurrent, cuCtxPushCurrent_v2)

API CUresult cuCtxPopCurrent_v2(CUcontext *out)
{
    CUresult result = driver_ready();
    CUcontext popped;
    if (result)
        return result;
    if (!(popped = context_pop()))
        return refuse(CUDA_ERROR_INVALID_CONTEXT, "the thread's stack of contexts is empty");
    if (out)
        *out = popped;
    return CUDA_SUCCESS;
}
ALSO(cuCtxPopCurrent, cuCtxPopCurrent_v2)

API CUresult cuCtxSetCurrent(CUcontext handle)
{
    HELD struct context *context = NULL;
    CUresult result = handle ? context_acquire(handle, &context) : driver_ready();
    if (result)
        return result;
    context_pop();
    return !handle || context_push(handle) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

API CUresult cuCtxGetCurrent(CUcontext *out)
{
    CUresult result = driver_ready();
    if (result)
        return result;
    if (!out)
        return CUDA_ERROR_INVALID_VALUE;
    *out = context_top();
    return CUDA_SUCCESS;
}
