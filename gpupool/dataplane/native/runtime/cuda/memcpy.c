/* The calls that copy a run of bytes. */
#include "gpupool_calls.h"
#include "runtime/cuda/call.h"
#include "runtime/cuda/copy.h"

static CUresult to_device(CUdeviceptr to, const void *from, size_t bytes, CUstream stream, bool per_thread,
                          bool waits)
{
    struct order order;
    struct end target;
    CUresult result = copy_begin(&order, stream, per_thread, waits);
    if (result != CUDA_SUCCESS)
        return result;
    if ((bytes && !from) || !copy_device_end(&order, to, bytes, &target))
        return CUDA_ERROR_INVALID_VALUE;
    return copy_run(&order, target, (struct end){NULL, (uintptr_t)from}, bytes);
}

static CUresult to_host(void *to, CUdeviceptr from, size_t bytes, CUstream stream, bool per_thread, bool waits)
{
    struct order order;
    struct end source;
    CUresult result = copy_begin(&order, stream, per_thread, waits);
    if (result != CUDA_SUCCESS)
        return result;
    if ((bytes && !to) || !copy_device_end(&order, from, bytes, &source))
        return CUDA_ERROR_INVALID_VALUE;
    return copy_run(&order, (struct end){NULL, (uintptr_t)to}, source, bytes);
}

static CUresult on_device(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream, bool per_thread)
{
    struct order order;
    struct end target, source;
    CUresult result = copy_begin(&order, stream, per_thread, false);
    if (result != CUDA_SUCCESS)
        return result;
    if (!copy_device_end(&order, to, bytes, &target) || !copy_device_end(&order, from, bytes, &source))
        return CUDA_ERROR_INVALID_VALUE;
    return copy_run(&order, target, source, bytes);
}

/* Addresses of either kind: what no session's memory holds is host memory. */
static CUresult anywhere(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream, bool per_thread,
                         bool waits)
{
    struct order order;
    struct end target, source;
    CUresult result = copy_begin(&order, stream, per_thread, waits);
    if (result != CUDA_SUCCESS)
        return result;
    copy_device_end(&order, to, bytes, &target);
    copy_device_end(&order, from, bytes, &source);
    return copy_run(&order, target, source, bytes);
}

CUresult runtime_cuMemcpyHtoD_v2(CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount, bool per_thread)
{
    return to_device(dstDevice, srcHost, ByteCount, NULL, per_thread, true);
}

CUresult runtime_cuMemcpyHtoDAsync_v2(CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount,
                                      CUstream hStream, bool per_thread)
{
    return to_device(dstDevice, srcHost, ByteCount, hStream, per_thread, false);
}

CUresult runtime_cuMemcpyDtoH_v2(void *dstHost, CUdeviceptr srcDevice, size_t ByteCount, bool per_thread)
{
    return to_host(dstHost, srcDevice, ByteCount, NULL, per_thread, true);
}

CUresult runtime_cuMemcpyDtoHAsync_v2(void *dstHost, CUdeviceptr srcDevice, size_t ByteCount,
                                      CUstream hStream, bool per_thread)
{
    return to_host(dstHost, srcDevice, ByteCount, hStream, per_thread, false);
}

CUresult runtime_cuMemcpyDtoD_v2(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount,
                                 bool per_thread)
{
    return on_device(dstDevice, srcDevice, ByteCount, NULL, per_thread);
}

CUresult runtime_cuMemcpyDtoDAsync_v2(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount,
                                      CUstream hStream, bool per_thread)
{
    return on_device(dstDevice, srcDevice, ByteCount, hStream, per_thread);
}

CUresult runtime_cuMemcpy(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount, bool per_thread)
{
    return anywhere(dst, src, ByteCount, NULL, per_thread, true);
}

CUresult runtime_cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount, CUstream hStream,
                               bool per_thread)
{
    return anywhere(dst, src, ByteCount, hStream, per_thread, false);
}

static CUresult between(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context,
                        size_t bytes, CUstream stream, bool per_thread)
{
    struct order order;
    struct end target = {NULL, to}, source = {NULL, from};
    uint64_t handle;
    CUresult result = copy_begin(&order, stream, per_thread, false);
    if (result == CUDA_SUCCESS)
        result = context_find(to_context, &target.session, &handle);
    if (result == CUDA_SUCCESS)
        result = context_find(from_context, &source.session, &handle);
    if (result != CUDA_SUCCESS)
        return result;
    if (bytes && (!session_owns(target.session, to, bytes, NULL) || !session_owns(source.session, from, bytes, NULL)))
        return CUDA_ERROR_INVALID_VALUE;
    return copy_run(&order, target, source, bytes);
}

CUresult runtime_cuMemcpyPeer(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice,
                              CUcontext srcContext, size_t ByteCount, bool per_thread)
{
    return between(dstDevice, dstContext, srcDevice, srcContext, ByteCount, NULL, per_thread);
}

CUresult runtime_cuMemcpyPeerAsync(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice,
                                   CUcontext srcContext, size_t ByteCount, CUstream hStream, bool per_thread)
{
    return between(dstDevice, dstContext, srcDevice, srcContext, ByteCount, hStream, per_thread);
}
