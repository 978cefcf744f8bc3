/* The cuMemcpy functions: each names the ends of a copy. */
#include "refcuda/api.h"
#include "refcuda/context.h"
#include "refcuda/copy.h"
#include "refcuda/current.h"
#include "refcuda/driver.h"
#include "refcuda/thread.h"

static CUresult line(enum null_stream null, CUstream stream, struct end to, struct end from, size_t size,
                     enum copy_mode mode)
{
    struct rows rows = {to, from, size, 1};
    return copy_rows(null, stream, &rows, mode);
}

static struct end device(CUdeviceptr address)
{
    return (struct end){SIDE_DEVICE, address, 0};
}

static struct end host(const void *address)
{
    return (struct end){SIDE_HOST, (uintptr_t)address, 0};
}

static struct end any(CUdeviceptr address)
{
    return (struct end){SIDE_ANY, address, 0};
}

static CUresult host_to_device(enum null_stream null, CUdeviceptr to, const void *from, size_t size)
{
    return line(null, NULL, device(to), host(from), size, COPY_AND_WAIT);
}
TWIN(cuMemcpyHtoD_v2, _ptds, host_to_device, (CUdeviceptr to, const void *from, size_t size), to, from, size)
ALSO(cuMemcpyHtoD, cuMemcpyHtoD_v2)

static CUresult host_to_device_async(enum null_stream null, CUdeviceptr to, const void *from, size_t size,
                                     CUstream stream)
{
    return line(null, stream, device(to), host(from), size, COPY_ASYNC);
}
TWIN(cuMemcpyHtoDAsync_v2, _ptsz, host_to_device_async,
     (CUdeviceptr to, const void *from, size_t size, CUstream stream), to, from, size, stream)
ALSO(cuMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2)

static CUresult device_to_host(enum null_stream null, void *to, CUdeviceptr from, size_t size)
{
    return line(null, NULL, host(to), device(from), size, COPY_AND_WAIT);
}
TWIN(cuMemcpyDtoH_v2, _ptds, device_to_host, (void *to, CUdeviceptr from, size_t size), to, from, size)
ALSO(cuMemcpyDtoH, cuMemcpyDtoH_v2)

static CUresult device_to_host_async(enum null_stream null, void *to, CUdeviceptr from, size_t size, CUstream stream)
{
    return line(null, stream, host(to), device(from), size, COPY_ASYNC);
}
TWIN(cuMemcpyDtoHAsync_v2, _ptsz, device_to_host_async, (void *to, CUdeviceptr from, size_t size, CUstream stream), to,
     from, size, stream)
ALSO(cuMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2)

/* Between device memories a copy is in the stream's order, but the program does not wait for it. */
static CUresult device_to_device(enum null_stream null, CUdeviceptr to, CUdeviceptr from, size_t size)
{
    return line(null, NULL, device(to), device(from), size, COPY_ASYNC);
}
TWIN(cuMemcpyDtoD_v2, _ptds, device_to_device, (CUdeviceptr to, CUdeviceptr from, size_t size), to, from, size)
ALSO(cuMemcpyDtoD, cuMemcpyDtoD_v2)

static CUresult device_to_device_async(enum null_stream null, CUdeviceptr to, CUdeviceptr from, size_t size,
                                       CUstream stream)
{
    return line(null, stream, device(to), device(from), size, COPY_ASYNC);
}
TWIN(cuMemcpyDtoDAsync_v2, _ptsz, device_to_device_async,
     (CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream), to, from, size, stream)
ALSO(cuMemcpyDtoDAsync, cuMemcpyDtoDAsync_v2)

static CUresult generic(enum null_stream null, CUdeviceptr to, CUdeviceptr from, size_t size)
{
    return line(null, NULL, any(to), any(from), size, COPY_AND_WAIT);
}
TWIN(cuMemcpy, _ptds, generic, (CUdeviceptr to, CUdeviceptr from, size_t size), to, from, size)

static CUresult generic_async(enum null_stream null, CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream)
{
    return line(null, stream, any(to), any(from), size, COPY_ASYNC);
}
TWIN(cuMemcpyAsync, _ptsz, generic_async, (CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream), to, from,
     size, stream)

static CUresult peer_async(enum null_stream null, CUdeviceptr to, CUcontext to_handle, CUdeviceptr from,
                           CUcontext from_handle, size_t size, CUstream stream)
{
    HELD struct context *to_context = NULL, *from_context = NULL;
    CUresult result = context_acquire(to_handle, &to_context);
    if (result || (result = context_acquire(from_handle, &from_context)))
        return result;
    return line(null, stream, device(to), device(from), size, COPY_ASYNC);
}
TWIN(cuMemcpyPeerAsync, _ptsz, peer_async,
     (CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context, size_t size, CUstream stream),
     to, to_context, from, from_context, size, stream)

static CUresult peer(enum null_stream null, CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                     CUcontext from_context, size_t size)
{
    return peer_async(null, to, to_context, from, from_context, size, NULL);
}
TWIN(cuMemcpyPeer, _ptds, peer,
     (CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context, size_t size), to, to_context,
     from, from_context, size)

/* One end of a rectangle; its first byte is in row y at x. */
static CUresult corner(CUmemorytype type, const void *host_address, CUdeviceptr device_address, size_t pitch, size_t x,
                       size_t y, struct end *end)
{
    size_t offset;
    if (type == CU_MEMORYTYPE_HOST)
        *end = host(host_address);
    else if (type == CU_MEMORYTYPE_DEVICE)
        *end = device(device_address);
    else if (type == CU_MEMORYTYPE_UNIFIED)
        *end = any(device_address);
    else
        return refuse(CUDA_ERROR_INVALID_VALUE, "memory type is %d; the reference device has no arrays", (int)type);
    if (__builtin_mul_overflow(pitch, y, &offset) || __builtin_add_overflow(offset, x, &offset) ||
        __builtin_add_overflow(end->address, offset, &end->address))
        return CUDA_ERROR_INVALID_VALUE;
    end->pitch = pitch;
    return CUDA_SUCCESS;
}

static CUresult rectangle(enum null_stream null, const CUDA_MEMCPY2D *wanted, CUstream stream, enum copy_mode mode)
{
    struct rows rows;
    CUresult result = driver_ready();
    if (result)
        return result;
    if (!wanted)
        return CUDA_ERROR_INVALID_VALUE;
    rows.width = wanted->WidthInBytes;
    rows.height = wanted->Height;
    if ((result = corner(wanted->srcMemoryType, wanted->srcHost, wanted->srcDevice, wanted->srcPitch,
                         wanted->srcXInBytes, wanted->srcY, &rows.from)) ||
        (result = corner(wanted->dstMemoryType, wanted->dstHost, wanted->dstDevice, wanted->dstPitch,
                         wanted->dstXInBytes, wanted->dstY, &rows.to)))
        return result;
    return copy_rows(null, stream, &rows, mode);
}

static CUresult rectangle_wait(enum null_stream null, const CUDA_MEMCPY2D *wanted)
{
    return rectangle(null, wanted, NULL, COPY_AND_WAIT);
}
TWIN(cuMemcpy2D_v2, _ptds, rectangle_wait, (const CUDA_MEMCPY2D *wanted), wanted)
ALSO(cuMemcpy2D, cuMemcpy2D_v2)
TWIN(cuMemcpy2DUnaligned_v2, _ptds, rectangle_wait, (const CUDA_MEMCPY2D *wanted), wanted)
ALSO(cuMemcpy2DUnaligned, cuMemcpy2DUnaligned_v2)

static CUresult rectangle_async(enum null_stream null, const CUDA_MEMCPY2D *wanted, CUstream stream)
{
    return rectangle(null, wanted, stream, COPY_ASYNC);
}
TWIN(cuMemcpy2DAsync_v2, _ptsz, rectangle_async, (const CUDA_MEMCPY2D *wanted, CUstream stream), wanted, stream)
ALSO(cuMemcpy2DAsync, cuMemcpy2DAsync_v2)
