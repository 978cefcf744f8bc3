/* Contexts. All contexts of a device share the worker's one; what each owns is freed with it. */
#include <stdlib.h>

#include "runtime/runtime.h"

#define STACK 64

/* The contexts that a thread has made current, in memory of the thread's own: a thread-local variable in a library
 * makes it name glibc's dynamic linker, so that musl's does not load it. */
struct stack {
    int depth;
    CUcontext contexts[STACK];
};

static pthread_key_t stack_key;
static bool stack_key_made;

__attribute__((constructor)) static void make_stack_key(void)
{
    stack_key_made = !pthread_key_create(&stack_key, free);
}

/* NULL while the thread has never had a current context. */
static struct stack *own_stack(void)
{
    return stack_key_made ? pthread_getspecific(stack_key) : NULL;
}

static CUcontext top(void)
{
    const struct stack *stack = own_stack();
    return stack && stack->depth ? stack->contexts[stack->depth - 1] : NULL;
}

static CUcontext pop(void)
{
    struct stack *stack = own_stack();
    return stack && stack->depth ? stack->contexts[--stack->depth] : NULL;
}

void context_forget(void)
{
    struct stack *stack = own_stack();
    if (stack)
        stack->depth = 0;
}

CUresult context_primary_new(struct session *session)
{
    struct context *context = calloc(1, sizeof *context);
    if (!context)
        return CUDA_ERROR_OUT_OF_MEMORY;
    context->primary = true;
    session->primary = handle_new(&session->handles, HANDLE_CONTEXT, context);
    return session->primary ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult context_find(CUcontext context, struct session **session, uint64_t *handle)
{
    struct call call = {0};
    CUresult result;
    if (!context)
        return context_current(session, handle);
    result = call_handle(&call, HANDLE_CONTEXT, context, handle);
    if (result == CUDA_ERROR_INVALID_HANDLE)
        return CUDA_ERROR_INVALID_CONTEXT;
    *session = call.session;
    if (result == CUDA_SUCCESS && *handle == call.session->primary && !call.session->primary_retained)
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    return result;
}

CUresult context_current(struct session **session, uint64_t *handle)
{
    CUcontext current = top();
    return current ? context_find(current, session, handle) : CUDA_ERROR_INVALID_CONTEXT;
}

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
    module_item_free(kind, item);
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

static void clear_memory(struct session *session, uint64_t context)
{
    struct range range;
    struct bytes none = {NULL, 0};
    for (size_t index = session->memory.count; index-- > 0;) {
        if (session->memory.items[index].owner != context)
            continue;
        memory_remove(session, session->memory.items[index].start, &range);
        struct bytes request = {&range.start, sizeof range.start};
        session_send(session, CALL_memory_free, request, none);
    }
}

/* Free what belongs to a context; the table lock is held. */
static void clear(struct session *session, uint64_t context)
{
    clear_memory(session, context);
    clear_items(session, context);
}

bool context_live(const struct session *session, uint64_t context)
{
    return handle_get(&session->handles, context, HANDLE_CONTEXT) &&
           (context != session->primary || session->primary_retained);
}

/* --- primary contexts --- */

static CUcontext primary(struct session *session)
{
    return (CUcontext)public_handle(session, HANDLE_CONTEXT, session->primary);
}

CUresult runtime_cuDevicePrimaryCtxRetain(CUcontext *pctx, CUdevice dev)
{
    struct session *session;
    if (!pctx)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = runtime_session(dev, &session);
    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&session->table_lock);
    session->primary_retained++;
    pthread_mutex_unlock(&session->table_lock);
    *pctx = primary(session);
    return CUDA_SUCCESS;
}

CUresult runtime_cuDevicePrimaryCtxRelease(CUdevice dev)
{
    struct session *session;
    CUresult result = runtime_session(dev, &session);
    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&session->table_lock);
    unsigned before = session->primary_retained;
    if (before)
        session->primary_retained--;
    /* Under the same lock: another thread may retain it anew, and what it makes must stay. */
    if (before == 1)
        clear(session, session->primary);
    pthread_mutex_unlock(&session->table_lock);
    return before ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult runtime_cuDevicePrimaryCtxReset(CUdevice dev)
{
    struct session *session;
    CUresult result = runtime_session(dev, &session);
    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&session->table_lock);
    clear(session, session->primary);
    pthread_mutex_unlock(&session->table_lock);
    return CUDA_SUCCESS;
}

static bool flags_ok(unsigned flags)
{
    unsigned schedule = flags & CU_CTX_SCHED_MASK;
    return !(flags & ~(unsigned)CU_CTX_FLAGS_MASK) && (schedule & (schedule - 1)) == 0;
}

CUresult runtime_cuDevicePrimaryCtxSetFlags(CUdevice dev, unsigned int flags)
{
    struct session *session;
    if (!flags_ok(flags))
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = runtime_session(dev, &session);
    if (result == CUDA_SUCCESS)
        session->primary_flags = flags;
    return result;
}

CUresult runtime_cuDevicePrimaryCtxGetState(CUdevice dev, unsigned int *flags, int *active)
{
    struct session *session;
    if (!flags || !active)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = runtime_session(dev, &session);
    if (result != CUDA_SUCCESS)
        return result;
    *flags = session->primary_flags;
    *active = session->primary_retained > 0;
    return CUDA_SUCCESS;
}

/* --- contexts of one's own --- */

static struct stack *make_stack(void)
{
    struct stack *stack = stack_key_made ? calloc(1, sizeof *stack) : NULL;
    if (stack && pthread_setspecific(stack_key, stack)) {
        free(stack);
        return NULL;
    }
    return stack;
}

static CUresult push(CUcontext context)
{
    struct stack *stack = own_stack();
    if (!stack)
        stack = make_stack();
    if (!stack || stack->depth == STACK)
        return CUDA_ERROR_OUT_OF_MEMORY;
    stack->contexts[stack->depth++] = context;
    return CUDA_SUCCESS;
}

static CUresult create(CUcontext *pctx, unsigned flags, CUdevice dev)
{
    struct session *session;
    if (!pctx || !flags_ok(flags))
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = runtime_session(dev, &session);
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
    return push(*pctx);
}

CUresult runtime_cuCtxCreate_v2(CUcontext *pctx, unsigned int flags, CUdevice dev)
{
    return create(pctx, flags, dev);
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
    if (handle == session->primary)
        return CUDA_ERROR_INVALID_CONTEXT;
    /* The handle first, in one go with the rest: nothing new may come to belong to it. */
    pthread_mutex_lock(&session->table_lock);
    struct context *context = handle_drop(&session->handles, handle, HANDLE_CONTEXT);
    if (context)
        clear(session, handle);
    pthread_mutex_unlock(&session->table_lock);
    free(context);
    if (top() == ctx)
        pop();
    return context ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult runtime_cuCtxGetCurrent(CUcontext *pctx)
{
    if (!pctx)
        return CUDA_ERROR_INVALID_VALUE;
    *pctx = top();
    return CUDA_SUCCESS;
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
        pop();
        return CUDA_SUCCESS;
    }
    CUresult result = check(ctx);
    if (result != CUDA_SUCCESS)
        return result;
    pop();
    return push(ctx);
}

CUresult runtime_cuCtxPushCurrent_v2(CUcontext ctx)
{
    CUresult result = ctx ? check(ctx) : CUDA_ERROR_INVALID_CONTEXT;
    return result == CUDA_SUCCESS ? push(ctx) : result;
}

CUresult runtime_cuCtxPopCurrent_v2(CUcontext *pctx)
{
    CUcontext popped = pop();
    if (popped && pctx)
        *pctx = popped;
    return popped ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult runtime_cuCtxGetDevice_v2(CUdevice *device, CUcontext ctx)
{
    struct session *session;
    uint64_t handle;
    if (!device)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = context_find(ctx, &session, &handle);
    if (result == CUDA_SUCCESS)
        *device = session->ordinal;
    return result;
}

CUresult runtime_cuCtxGetDevice(CUdevice *device)
{
    return runtime_cuCtxGetDevice_v2(device, NULL);
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
    *flags = !context || context->primary ? session->primary_flags : context->flags;
    pthread_mutex_unlock(&session->table_lock);
    return context ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

CUresult runtime_cuCtxSetFlags(unsigned int flags)
{
    struct session *session;
    uint64_t handle;
    if (!flags_ok(flags))
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = context_current(&session, &handle);
    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&session->table_lock);
    struct context *context = handle_get(&session->handles, handle, HANDLE_CONTEXT);
    if (context && context->primary)
        session->primary_flags = flags;
    else if (context)
        context->flags = flags;
    pthread_mutex_unlock(&session->table_lock);
    return context ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

CUresult runtime_cuCtxGetId(CUcontext ctx, unsigned long long *ctxId)
{
    struct session *session;
    uint64_t handle;
    if (!ctxId)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = context_find(ctx, &session, &handle);
    if (result == CUDA_SUCCESS)
        *ctxId = public_handle(session, HANDLE_NONE, handle);
    return result;
}

CUresult runtime_cuCtxGetApiVersion(CUcontext ctx, unsigned int *version)
{
    CUresult result = version ? check(ctx) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *version = 3020;
    return result;
}

CUresult runtime_cuCtxSynchronize_v2(CUcontext ctx)
{
    struct call call = {0};
    uint64_t handle;
    CUresult result = context_find(ctx, &call.session, &handle);
    if (result != CUDA_SUCCESS)
        return result;
    return call_ask(&call, CALL_cuCtxSynchronize, NULL, 0, NULL, 0, NULL, 0);
}

CUresult runtime_cuCtxEnablePeerAccess(CUcontext peerContext, unsigned int Flags)
{
    CUresult result = Flags ? CUDA_ERROR_INVALID_VALUE : check(peerContext);
    return result == CUDA_SUCCESS ? CUDA_ERROR_PEER_ACCESS_UNSUPPORTED : result;
}

CUresult runtime_cuCtxDisablePeerAccess(CUcontext peerContext)
{
    CUresult result = check(peerContext);
    return result == CUDA_SUCCESS ? CUDA_ERROR_PEER_ACCESS_NOT_ENABLED : result;
}
