/* Primary contexts: one a device, for all users of the process. */
#include "gpupool_calls.h"
#include "runtime/cuda/context.h"
#include "runtime/cuda/device.h"

static CUcontext primary(struct session *session)
{
    return (CUcontext)public_handle(session, HANDLE_CONTEXT, session->device->primary);
}

CUresult runtime_cuDevicePrimaryCtxRetain(CUcontext *pctx, CUdevice dev)
{
    struct session *session;
    if (!pctx)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = device_session(dev, &session);
    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&session->table_lock);
    session->device->primary_retained++;
    pthread_mutex_unlock(&session->table_lock);
    *pctx = primary(session);
    return CUDA_SUCCESS;
}

CUresult runtime_cuDevicePrimaryCtxRelease(CUdevice dev)
{
    struct session *session;
    CUresult result = device_session(dev, &session);
    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&session->table_lock);
    unsigned before = session->device->primary_retained;
    if (before)
        session->device->primary_retained--;
    /* Under the same lock: another thread may retain it anew, and what it makes must stay. */
    if (before == 1)
        context_clear(session, session->device->primary);
    pthread_mutex_unlock(&session->table_lock);
    return before ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult runtime_cuDevicePrimaryCtxReset(CUdevice dev)
{
    struct session *session;
    CUresult result = device_session(dev, &session);
    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&session->table_lock);
    context_clear(session, session->device->primary);
    pthread_mutex_unlock(&session->table_lock);
    return CUDA_SUCCESS;
}

CUresult runtime_cuDevicePrimaryCtxSetFlags(CUdevice dev, unsigned int flags)
{
    struct session *session;
    if (!context_flags_ok(flags))
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = device_session(dev, &session);
    if (result == CUDA_SUCCESS)
        session->device->primary_flags = flags;
    return result;
}

