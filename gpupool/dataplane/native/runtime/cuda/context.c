/* Contexts. All contexts of a device share the worker's one; what each owns is freed with it. */
#include "runtime/cuda/context.h"

#include <stdlib.h>

#include "gpupool_calls.h"
#include "runtime/address_map.h"
#include "runtime/cuda/current.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/function.h"

/* --- what belongs to a context --- */

static void end_item(struct session *session, enum handle_kind kind, uint64_t handle, struct item *item)
{
    struct bytes request = {&handle, sizeof handle}, none = {NULL, 0};
    static const uint16_t messages[] = {
        [HANDLE_STREAM] = CALL_stream_destroy,
        [HANDLE_EVENT] = CALL_event_destroy,
        [HANDLE_MODULE] = CALL_module_unload,
    };
    if (kind != HANDLE_FUNCTION)
        session_send(session, messages[kind], request, none);
    item_free(kind, item);
}

/* An object that is still being created ends later: its creator finds the context gone. */
static void clear_items(struct session *session, uint64_t context)
{
    struct handle_walk walk = {0};
    while (handle_next(&session->handles, &walk)) {
        struct item *item = walk.object;
        if (walk.kind == HANDLE_CONTEXT || walk.kind == HANDLE_MAKING || item->context != context)
            continue;
        handle_drop(&session->handles, walk.handle, walk.kind);
        end_item(session, walk.kind, walk.handle, item);
    }
}

static void free_range(void *argument, const struct range *range)
{
    struct bytes request = {&range->start, sizeof range->start}, none = {NULL, 0};
    session_send(argument, CALL_memory_free, request, none);
}

void context_clear(struct session *session, uint64_t context)
{
    address_map_remove_owned(&session->memory, context, free_range, session);
    clear_items(session, context);
}

bool context_flags_ok(unsigned flags)
{
    unsigned schedule = flags & CU_CTX_SCHED_MASK;
    return !(flags & ~(unsigned)CU_CTX_FLAGS_MASK) && (schedule & (schedule - 1)) == 0;
}

static CUresult create(CUcontext *pctx, unsigned flags, CUdevice dev)
{
    struct session *session;
    if (!pctx || !context_flags_ok(flags))
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = device_session(dev, &session);
    if (result != CUDA_SUCCESS)
        return result;
    struct context *context = calloc(1, sizeof *context);
    if (!context)
        return CUDA_ERROR_OUT_OF_MEMORY;
    context->flags = flags;
    pthread_mutex_lock(&session->table_lock);
    uint64_t handle = handle_new(&session->handles, HANDLE_CONTEXT, context);
    pthread_mutex_unlock(&session->table_lock);
    if (!handle) {
        free(context);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *pctx = (CUcontext)public_handle(session, HANDLE_CONTEXT, handle);
    return current_push(*pctx) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult runtime_cuCtxCreate_v3(CUcontext *pctx, CUexecAffinityParam *paramsArray, int numParams,
                                unsigned int flags, CUdevice dev)
{
    if (paramsArray || numParams)
        return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
    return create(pctx, flags, dev);
}

CUresult runtime_cuCtxCreate_v4(CUcontext *pctx, CUctxCreateParams *ctxCreateParams, unsigned int flags,
                                CUdevice dev)
{
    if (ctxCreateParams && (ctxCreateParams->numExecAffinityParams || ctxCreateParams->cigParams))
        return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
    return create(pctx, flags, dev);
}

CUresult runtime_cuCtxDestroy_v2(CUcontext ctx)
{
    struct session *session;
    uint64_t handle;
    if (!ctx)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = context_find(ctx, &session, &handle);
    if (result != CUDA_SUCCESS)
        return result;
    if (handle == session->device->primary)
        return CUDA_ERROR_INVALID_CONTEXT;
    /* The handle first, in one go with the rest: nothing new may come to belong to it. */
    pthread_mutex_lock(&session->table_lock);
    struct context *context = handle_drop(&session->handles, handle, HANDLE_CONTEXT);
    if (context)
        context_clear(session, handle);
    pthread_mutex_unlock(&session->table_lock);
    free(context);
    if (current_top() == ctx)
        current_pop();
    return context ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

static CUresult check(CUcontext ctx)
{
    struct session *session;
    uint64_t handle;
    return context_find(ctx, &session, &handle);
}

CUresult runtime_cuCtxSetCurrent(CUcontext ctx)
{
    if (!ctx) {
        current_pop();
        return CUDA_SUCCESS;
    }
    CUresult result = check(ctx);
    if (result != CUDA_SUCCESS)
        return result;
    current_pop();
    return current_push(ctx) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult runtime_cuCtxPushCurrent_v2(CUcontext ctx)
{
    CUresult result = ctx ? check(ctx) : CUDA_ERROR_INVALID_CONTEXT;
    if (result != CUDA_SUCCESS)
        return result;
    return current_push(ctx) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult runtime_cuCtxPopCurrent_v2(CUcontext *pctx)
{
    CUcontext popped = current_pop();
    if (popped && pctx)
        *pctx = popped;
    return popped ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult runtime_cuCtxGetFlags(unsigned int *flags)
{
    struct session *session;
    uint64_t handle;
    if (!flags)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = context_current(&session, &handle);
    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&session->table_lock);
    const struct context *context = handle_get(&session->handles, handle, HANDLE_CONTEXT);
    *flags = !context || context->primary ? session->device->primary_flags : context->flags;
    pthread_mutex_unlock(&session->table_lock);
    return context ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

CUresult runtime_cuCtxSetFlags(unsigned int flags)
{
    struct session *session;
    uint64_t handle;
    if (!context_flags_ok(flags))
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = context_current(&session, &handle);
    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&session->table_lock);
    struct context *context = handle_get(&session->handles, handle, HANDLE_CONTEXT);
    if (context && context->primary)
        session->device->primary_flags = flags;
    else if (context)
        context->flags = flags;
    pthread_mutex_unlock(&session->table_lock);
    return context ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

