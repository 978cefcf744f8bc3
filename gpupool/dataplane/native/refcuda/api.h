/* Every function of the library, by its exported name. Their meaning is NVIDIA's; see cuda/cuda_abi.h. */
#ifndef REFCUDA_API_H
#define REFCUDA_API_H

#include <stdbool.h>

#include "cuda/cuda_abi.h"

#define API __attribute__((visibility("default")))

/* A function and its twin, in which a null stream is the thread's own. `function` takes an enum null_stream first. */
#define TWIN(name, suffix, function, parameters, ...)                                                             \
    API CUresult name parameters                                                                                  \
    {                                                                                                             \
        return function(NULL_IS_LEGACY, __VA_ARGS__);                                                             \
    }                                                                                                             \
    API CUresult name##suffix parameters                                                                          \
    {                                                                                                             \
        return function(NULL_IS_PER_THREAD, __VA_ARGS__);                                                         \
    }

/* The plain name of a function that has a _v2: once another interface, 32 bits wide, that no 64-bit program uses. */
#define ALSO(plain, function) API __typeof__(function) plain __attribute__((alias(#function)));

/* Declares a function and its twin. */
#define DECLARE(name, suffix, ...) CUresult name(__VA_ARGS__), name##suffix(__VA_ARGS__)

/* driver.c */
CUresult cuInit(unsigned int flags);
CUresult cuDriverGetVersion(int *version);
CUresult cuProfilerStart(void);
CUresult cuProfilerStop(void);

/* error.c */
CUresult cuGetErrorName(CUresult result, const char **name);
CUresult cuGetErrorString(CUresult result, const char **text);

/* resolve.c */
CUresult cuGetProcAddress(const char *name, void **function, int version, uint64_t flags);
CUresult cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags,
                             CUdriverProcAddressQueryResult *status);

/* device.c */
CUresult cuDeviceGet(CUdevice *out, int ordinal);
CUresult cuDeviceGetCount(int *out);
CUresult cuDeviceGetName(char *name, int length, CUdevice ordinal);
CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice ordinal);
CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice ordinal);
CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice ordinal);
CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice ordinal);
CUresult cuDeviceGetPCIBusId(char *text, int length, CUdevice ordinal);
CUresult cuDeviceGetByPCIBusId(CUdevice *out, const char *text);
CUresult cuDeviceCanAccessPeer(int *can, CUdevice ordinal, CUdevice peer);
CUresult cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attribute, CUdevice from, CUdevice to);

/* context.c */
CUresult cuCtxCreate_v2(CUcontext *out, unsigned int flags, CUdevice ordinal);
CUresult cuCtxCreate_v3(CUcontext *out, CUexecAffinityParam *affinity, int number, unsigned int flags, CUdevice
                        ordinal);
CUresult cuCtxCreate_v4(CUcontext *out, CUctxCreateParams *parameters, unsigned int flags, CUdevice ordinal);
CUresult cuCtxDestroy_v2(CUcontext handle);
CUresult cuCtxPushCurrent_v2(CUcontext handle);
CUresult cuCtxPopCurrent_v2(CUcontext *out);
CUresult cuCtxSetCurrent(CUcontext handle);
CUresult cuCtxGetCurrent(CUcontext *out);

/* context_state.c */
CUresult cuCtxGetDevice(CUdevice *out);
CUresult cuCtxGetDevice_v2(CUdevice *out, CUcontext handle);
CUresult cuCtxSynchronize(void);
CUresult cuCtxSynchronize_v2(CUcontext handle);
CUresult cuCtxGetApiVersion(CUcontext handle, unsigned int *version);
CUresult cuCtxGetId(CUcontext handle, unsigned long long *id);
CUresult cuCtxGetFlags(unsigned int *flags);
CUresult cuCtxGetLimit(size_t *value, CUlimit limit);
CUresult cuCtxSetLimit(CUlimit limit, size_t value);
CUresult cuCtxGetCacheConfig(CUfunc_cache *config);
CUresult cuCtxSetCacheConfig(CUfunc_cache config);
CUresult cuCtxGetSharedMemConfig(CUsharedconfig *config);
CUresult cuCtxSetSharedMemConfig(CUsharedconfig config);
CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest);
CUresult cuCtxEnablePeerAccess(CUcontext peer, unsigned int flags);
CUresult cuCtxDisablePeerAccess(CUcontext peer);

/* primary.c */
CUresult cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice ordinal);
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice ordinal);
CUresult cuDevicePrimaryCtxReset_v2(CUdevice ordinal);
CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice ordinal, unsigned int flags);
CUresult cuDevicePrimaryCtxGetState(CUdevice ordinal, unsigned int *flags, int *active);

/* stream.c */
CUresult cuStreamCreateWithPriority(CUstream *out, unsigned int flags, int priority);
CUresult cuStreamCreate(CUstream *out, unsigned int flags);
CUresult cuStreamDestroy_v2(CUstream handle);
DECLARE(cuStreamSynchronize, _ptsz, CUstream handle);
DECLARE(cuStreamQuery, _ptsz, CUstream handle);
DECLARE(cuStreamWaitEvent, _ptsz, CUstream handle, CUevent event, unsigned int flags);
DECLARE(cuStreamGetFlags, _ptsz, CUstream handle, unsigned int *flags);
DECLARE(cuStreamGetPriority, _ptsz, CUstream handle, int *priority);
DECLARE(cuStreamGetCtx, _ptsz, CUstream handle, CUcontext *context);
DECLARE(cuStreamGetCtx_v2, _ptsz, CUstream handle, CUcontext *context, void **green);
DECLARE(cuStreamGetDevice, _ptsz, CUstream handle, CUdevice *device);
DECLARE(cuStreamGetId, _ptsz, CUstream handle, unsigned long long *id);

/* callback.c */
DECLARE(cuLaunchHostFunc, _ptsz, CUstream stream, CUhostFn function, void *data);
DECLARE(cuStreamAddCallback, _ptsz, CUstream stream, CUstreamCallback function, void *data, unsigned int flags);

/* event.c */
CUresult cuEventCreate(CUevent *out, unsigned int flags);
CUresult cuEventDestroy_v2(CUevent handle);
DECLARE(cuEventRecordWithFlags, _ptsz, CUevent event, CUstream stream, unsigned int flags);
DECLARE(cuEventRecord, _ptsz, CUevent event, CUstream stream);
CUresult cuEventQuery(CUevent handle);
CUresult cuEventSynchronize(CUevent handle);
CUresult cuEventElapsedTime_v2(float *milliseconds, CUevent start, CUevent end);

/* allocate.c */
CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t size);
CUresult cuMemAllocPitch_v2(CUdeviceptr *address, size_t *pitch, size_t width, size_t height, unsigned int
                            element_size);
CUresult cuMemFree_v2(CUdeviceptr address);
CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total);
CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr address);

/* pinned.c */
CUresult cuMemHostAlloc(void **out, size_t size, unsigned int flags);
CUresult cuMemAllocHost_v2(void **out, size_t size);
CUresult cuMemFreeHost(void *memory);
CUresult cuMemHostRegister_v2(void *memory, size_t size, unsigned int flags);
CUresult cuMemHostUnregister(void *memory);
CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *address, void *memory, unsigned int flags);
CUresult cuMemHostGetFlags(unsigned int *flags, void *memory);

/* pointer.c */
CUresult cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr address);
CUresult cuPointerGetAttributes(unsigned int number, CUpointer_attribute *attributes, void **data, CUdeviceptr
                                address);

/* memcpy.c */
DECLARE(cuMemcpyHtoD_v2, _ptds, CUdeviceptr to, const void *from, size_t size);
DECLARE(cuMemcpyHtoDAsync_v2, _ptsz, CUdeviceptr to, const void *from, size_t size, CUstream stream);
DECLARE(cuMemcpyDtoH_v2, _ptds, void *to, CUdeviceptr from, size_t size);
DECLARE(cuMemcpyDtoHAsync_v2, _ptsz, void *to, CUdeviceptr from, size_t size, CUstream stream);
DECLARE(cuMemcpyDtoD_v2, _ptds, CUdeviceptr to, CUdeviceptr from, size_t size);
DECLARE(cuMemcpyDtoDAsync_v2, _ptsz, CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream);
DECLARE(cuMemcpy, _ptds, CUdeviceptr to, CUdeviceptr from, size_t size);
DECLARE(cuMemcpyAsync, _ptsz, CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream);
DECLARE(cuMemcpyPeerAsync, _ptsz, CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext
        from_context, size_t size, CUstream stream);
DECLARE(cuMemcpyPeer, _ptds, CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context,
        size_t size);
DECLARE(cuMemcpy2D_v2, _ptds, const CUDA_MEMCPY2D *wanted);
DECLARE(cuMemcpy2DUnaligned_v2, _ptds, const CUDA_MEMCPY2D *wanted);
DECLARE(cuMemcpy2DAsync_v2, _ptsz, const CUDA_MEMCPY2D *wanted, CUstream stream);

/* memset.c */
DECLARE(cuMemsetD8_v2, _ptds, CUdeviceptr to, unsigned char value, size_t number);
DECLARE(cuMemsetD8Async, _ptsz, CUdeviceptr to, unsigned char value, size_t number, CUstream stream);
DECLARE(cuMemsetD2D8_v2, _ptds, CUdeviceptr to, size_t pitch, unsigned char value, size_t width, size_t height);
DECLARE(cuMemsetD2D8Async, _ptsz, CUdeviceptr to, size_t pitch, unsigned char value, size_t width, size_t
        height, CUstream stream);
DECLARE(cuMemsetD16_v2, _ptds, CUdeviceptr to, unsigned short value, size_t number);
DECLARE(cuMemsetD16Async, _ptsz, CUdeviceptr to, unsigned short value, size_t number, CUstream stream);
DECLARE(cuMemsetD2D16_v2, _ptds, CUdeviceptr to, size_t pitch, unsigned short value, size_t width, size_t
        height);
DECLARE(cuMemsetD2D16Async, _ptsz, CUdeviceptr to, size_t pitch, unsigned short value, size_t width, size_t
        height, CUstream stream);
DECLARE(cuMemsetD32_v2, _ptds, CUdeviceptr to, unsigned int value, size_t number);
DECLARE(cuMemsetD32Async, _ptsz, CUdeviceptr to, unsigned int value, size_t number, CUstream stream);
DECLARE(cuMemsetD2D32_v2, _ptds, CUdeviceptr to, size_t pitch, unsigned int value, size_t width, size_t height);
DECLARE(cuMemsetD2D32Async, _ptsz, CUdeviceptr to, size_t pitch, unsigned int value, size_t width, size_t
        height, CUstream stream);

/* module.c */
CUresult cuModuleLoadDataEx(CUmodule *handle, const void *bytes, unsigned int number, CUjit_option *options,
                            void **values);
CUresult cuModuleLoadData(CUmodule *handle, const void *bytes);
CUresult cuModuleLoad(CUmodule *handle, const char *path);
CUresult cuModuleUnload(CUmodule handle);
CUresult cuModuleGetFunction(CUfunction *out, CUmodule handle, const char *name);
CUresult cuModuleGetGlobal_v2(CUdeviceptr *address, size_t *size, CUmodule handle, const char *name);
CUresult cuModuleGetFunctionCount(unsigned int *count, CUmodule handle);
CUresult cuModuleEnumerateFunctions(CUfunction *functions, unsigned int number, CUmodule handle);
CUresult cuModuleGetLoadingMode(CUmoduleLoadingMode *mode);

/* library.c */
CUresult cuLibraryLoadData(CUlibrary *handle, const void *bytes, CUjit_option *options, void **values, unsigned
                           int number, CUlibraryOption *library_options, void **library_values, unsigned int
                           library_number);
CUresult cuLibraryLoadFromFile(CUlibrary *handle, const char *path, CUjit_option *options, void **values,
                               unsigned int number, CUlibraryOption *library_options, void **library_values,
                               unsigned int library_number);
CUresult cuLibraryUnload(CUlibrary handle);
CUresult cuLibraryGetKernel(CUkernel *out, CUlibrary handle, const char *name);
CUresult cuLibraryGetKernelCount(unsigned int *count, CUlibrary handle);
CUresult cuLibraryEnumerateKernels(CUkernel *kernels, unsigned int number, CUlibrary handle);
CUresult cuLibraryGetModule(CUmodule *module, CUlibrary handle);
CUresult cuLibraryGetGlobal(CUdeviceptr *address, size_t *size, CUlibrary handle, const char *name);
CUresult cuKernelGetFunction(CUfunction *function, CUkernel handle);
CUresult cuKernelGetLibrary(CUlibrary *library, CUkernel handle);
CUresult cuKernelGetName(const char **name, CUkernel handle);
CUresult cuKernelGetParamInfo(CUkernel handle, size_t index, size_t *offset, size_t *size);
CUresult cuKernelGetAttribute(int *value, CUfunction_attribute attribute, CUkernel handle, CUdevice device);
CUresult cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel handle, CUdevice device);

/* function.c */
CUresult cuFuncGetParamInfo(CUfunction handle, size_t index, size_t *offset, size_t *size);
CUresult cuFuncGetName(const char **name, CUfunction handle);
CUresult cuFuncGetModule(CUmodule *module, CUfunction handle);
CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction handle);
CUresult cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute, int value);
CUresult cuFuncSetCacheConfig(CUfunction handle, CUfunc_cache config);
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction handle, int block_size, size_t
                                                     shared);
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction handle, int block_size,
                                                              size_t shared, unsigned int flags);
CUresult cuOccupancyMaxPotentialBlockSizeWithFlags(int *grid_size, int *block_size, CUfunction handle,
                                                   CUoccupancyB2DSize shared_of, size_t shared, int limit,
                                                   unsigned int flags);
CUresult cuOccupancyMaxPotentialBlockSize(int *grid_size, int *block_size, CUfunction handle, CUoccupancyB2DSize
                                          shared_of, size_t shared, int limit);

/* launch.c */
DECLARE(cuLaunchKernelEx, _ptsz, const CUlaunchConfig *config, CUfunction function, void **parameters, void
        **extra);
DECLARE(cuLaunchKernel, _ptsz, CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int
        grid_z, unsigned int block_x, unsigned int block_y, unsigned int block_z, unsigned int shared, CUstream
        stream, void **parameters, void **extra);

#endif
