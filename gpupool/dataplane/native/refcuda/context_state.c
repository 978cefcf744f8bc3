/* What a context is asked and told: device, flags, limits, peers, waiting for it. */
#include "refcuda/api.h"
#include "refcuda/context.h"
#include "refcuda/current.h"
#include "refcuda/driver.h"
#include "refcuda/queue.h"

static CUresult get_device(struct context *context, CUdevice *out)
{
    if (!out)
        return CUDA_ERROR_INVALID_VALUE;
    *out = context->device->ordinal;
    return CUDA_SUCCESS;
}

/* A null handle stands for the current context in the calls that were extended by one. */
static CUresult current_or(CUcontext handle, struct context **context)
{
    return handle ? context_acquire(handle, context) : context_current(context);
}

API CUresult cuCtxGetDevice(CUdevice *out)
{
    HELD struct context *context = NULL;
    CUresult result = context_current(&context);
    return result ? result : get_device(context, out);
}

API CUresult cuCtxGetDevice_v2(CUdevice *out, CUcontext handle)
{
    HELD struct context *context = NULL;
    CUresult result = current_or(handle, &context);
    return result ? result : get_device(context, out);
}

API CUresult cuCtxSynchronize(void)
{
    HELD struct context *context = NULL;
    CUresult result = context_current(&context);
    return result ? result : streams_wait(context);
}

API CUresult cuCtxSynchronize_v2(CUcontext handle)
{
    HELD struct context *context = NULL;
    CUresult result = current_or(handle, &context);
    return result ? result : streams_wait(context);
}

API CUresult cuCtxGetApiVersion(CUcontext handle, unsigned int *version)
{
    HELD struct context *context = NULL;
    CUresult result = current_or(handle, &context);
    if (result)
        return result;
    if (!version)
        return CUDA_ERROR_INVALID_VALUE;
    *version = 3020; /* of the context interface, unchanged since */
    return CUDA_SUCCESS;
}

API CUresult cuCtxGetId(CUcontext handle, unsigned long long *id)
{
    HELD struct context *context = NULL;
    CUresult result = current_or(handle, &context);
    if (result)
        return result;
    if (!id)
        return CUDA_ERROR_INVALID_VALUE;
    *id = context->id;
    return CUDA_SUCCESS;
}

API CUresult cuCtxGetFlags(unsigned int *flags)
{
    HELD struct context *context = NULL;
    CUresult result = context_current(&context);
    if (result)
        return result;
    if (!flags)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = context->flags;
    return CUDA_SUCCESS;
}

API CUresult cuCtxGetLimit(size_t *value, CUlimit limit)
{
    HELD struct context *context = NULL;
    CUresult result = context_current(&context);
    if (result)
        return result;
    if (!value)
        return CUDA_ERROR_INVALID_VALUE;
    if ((unsigned)limit >= LIMITS)
        return refuse(CUDA_ERROR_UNSUPPORTED_LIMIT, "there is no limit %d", (int)limit);
    *value = atomic_load(&context->limits[limit]);
    return CUDA_SUCCESS;
}

API CUresult cuCtxSetLimit(CUlimit limit, size_t value)
{
    HELD struct context *context = NULL;
    CUresult result = context_current(&context);
    if (result)
        return result;
    if ((unsigned)limit >= LIMITS)
        return refuse(CUDA_ERROR_UNSUPPORTED_LIMIT, "there is no limit %d", (int)limit);
    atomic_store(&context->limits[limit], value);
    return CUDA_SUCCESS;
}

/* Kept and shown, without effect: there is one kind of memory here. */
static CUresult set_config(atomic_int *config, int value, int largest)
{
    if (value < 0 || value > largest)
        return CUDA_ERROR_INVALID_VALUE;
    atomic_store(config, value);
    return CUDA_SUCCESS;
}

API CUresult cuCtxGetCacheConfig(CUfunc_cache *config)
{
    HELD struct context *context = NULL;
    CUresult result = context_current(&context);
    if (result)
        return result;
    if (!config)
        return CUDA_ERROR_INVALID_VALUE;
    *config = (CUfunc_cache)atomic_load(&context->cache_config);
    return CUDA_SUCCESS;
}

API CUresult cuCtxSetCacheConfig(CUfunc_cache config)
{
    HELD struct context *context = NULL;
    CUresult result = context_current(&context);
    if (result)
        return result;
    return set_config(&context->cache_config, (int)config, CU_FUNC_CACHE_PREFER_EQUAL);
}

API CUresult cuCtxGetSharedMemConfig(CUsharedconfig *config)
{
    HELD struct context *context = NULL;
    CUresult result = context_current(&context);
    if (result)
        return result;
    if (!config)
        return CUDA_ERROR_INVALID_VALUE;
    *config = (CUsharedconfig)atomic_load(&context->shared_config);
    return CUDA_SUCCESS;
}

API CUresult cuCtxSetSharedMemConfig(CUsharedconfig config)
{
    HELD struct context *context = NULL;
    CUresult result = context_current(&context);
    if (result)
        return result;
    return set_config(&context->shared_config, (int)config, CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE);
}

API CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest)
{
    HELD struct context *context = NULL;
    CUresult result = context_current(&context);
    if (result)
        return result;
    if (least)
        *least = LEAST_PRIORITY;
    if (greatest)
        *greatest = GREATEST_PRIORITY;
    return CUDA_SUCCESS;
}

/* Every device reaches every other here; enabling is kept only to answer as a driver does. */
static CUresult peer_bit(CUcontext peer_handle, struct context **context, uint64_t *bit)
{
    HELD struct context *peer = NULL;
    CUresult result = context_current(context);
    if (result || (result = context_acquire(peer_handle, &peer)))
        return result;
    if (peer->device == (*context)->device)
        return refuse(CUDA_ERROR_INVALID_DEVICE, "a peer has to be on another device");
    *bit = (uint64_t)1 << peer->device->ordinal;
    return CUDA_SUCCESS;
}

API CUresult cuCtxEnablePeerAccess(CUcontext peer, unsigned int flags)
{
    HELD struct context *context = NULL;
    uint64_t bit;
    CUresult result = peer_bit(peer, &context, &bit);
    if (result)
        return result;
    if (flags)
        return CUDA_ERROR_INVALID_VALUE;
    return atomic_fetch_or(&context->peers, bit) & bit ? CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED : CUDA_SUCCESS;
}

API CUresult cuCtxDisablePeerAccess(CUcontext peer)
{
    HELD struct context *context = NULL;
    uint64_t bit;
    CUresult result = peer_bit(peer, &context, &bit);
    if (result)
        return result;
    return atomic_fetch_and(&context->peers, ~bit) & bit ? CUDA_SUCCESS : CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
}
