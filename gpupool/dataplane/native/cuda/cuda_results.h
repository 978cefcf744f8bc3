/* The result numbers of the driver interface, each with a description in our own words. */
#ifndef GPUPOOL_CUDA_RESULTS_H
#define GPUPOOL_CUDA_RESULTS_H

/* X(name, number, what cuGetErrorString says) */
#define CUDA_RESULTS(X)                                                                                           \
    X(CUDA_SUCCESS, 0, "no error")                                                                                \
    X(CUDA_ERROR_INVALID_VALUE, 1, "an argument is not acceptable")                                               \
    X(CUDA_ERROR_OUT_OF_MEMORY, 2, "not enough memory")                                                           \
    X(CUDA_ERROR_NOT_INITIALIZED, 3, "cuInit was not called or failed")                                           \
    X(CUDA_ERROR_DEINITIALIZED, 4, "the driver is shutting down")                                                 \
    X(CUDA_ERROR_PROFILER_DISABLED, 5, "the profiler is disabled")                                                \
    X(CUDA_ERROR_PROFILER_NOT_INITIALIZED, 6, "the profiler is not initialized")                                  \
    X(CUDA_ERROR_PROFILER_ALREADY_STARTED, 7, "the profiler runs already")                                        \
    X(CUDA_ERROR_PROFILER_ALREADY_STOPPED, 8, "the profiler is stopped already")                                  \
    X(CUDA_ERROR_STUB_LIBRARY, 34, "this library is a stub for linking")                                          \
    X(CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER, 36, "the call needs a newer driver")                                 \
    X(CUDA_ERROR_DEVICE_UNAVAILABLE, 46, "the device is lost, busy or not available")                             \
    X(CUDA_ERROR_NO_DEVICE, 100, "there is no device")                                                            \
    X(CUDA_ERROR_INVALID_DEVICE, 101, "no device has this number")                                                \
    X(CUDA_ERROR_DEVICE_NOT_LICENSED, 102, "the device has no licence")                                           \
    X(CUDA_ERROR_INVALID_IMAGE, 200, "the module image is not valid for this device")                             \
    X(CUDA_ERROR_INVALID_CONTEXT, 201, "no context is current, or it is not valid")                               \
    X(CUDA_ERROR_CONTEXT_ALREADY_CURRENT, 202, "the context is current already")                                  \
    X(CUDA_ERROR_MAP_FAILED, 205, "mapping failed")                                                               \
    X(CUDA_ERROR_UNMAP_FAILED, 206, "unmapping failed")                                                           \
    X(CUDA_ERROR_ARRAY_IS_MAPPED, 207, "the array is mapped and cannot be destroyed")                             \
    X(CUDA_ERROR_ALREADY_MAPPED, 208, "the resource is mapped already")                                           \
    X(CUDA_ERROR_NO_BINARY_FOR_GPU, 209, "the image holds no code for this device")                               \
    X(CUDA_ERROR_ALREADY_ACQUIRED, 210, "the resource is acquired already")                                       \
    X(CUDA_ERROR_NOT_MAPPED, 211, "the resource is not mapped")                                                   \
    X(CUDA_ERROR_NOT_MAPPED_AS_ARRAY, 212, "the resource is not mapped as an array")                              \
    X(CUDA_ERROR_NOT_MAPPED_AS_POINTER, 213, "the resource is not mapped as a pointer")                           \
    X(CUDA_ERROR_ECC_UNCORRECTABLE, 214, "memory error that could not be corrected")                              \
    X(CUDA_ERROR_UNSUPPORTED_LIMIT, 215, "the device does not know this limit")                                   \
    X(CUDA_ERROR_CONTEXT_ALREADY_IN_USE, 216, "another thread uses the context")                                  \
    X(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED, 217, "these devices cannot reach each other")                           \
    X(CUDA_ERROR_INVALID_PTX, 218, "PTX compilation failed")                                                      \
    X(CUDA_ERROR_INVALID_GRAPHICS_CONTEXT, 219, "the graphics context is not valid")                              \
    X(CUDA_ERROR_NVLINK_UNCORRECTABLE, 220, "NVLink error that could not be corrected")                           \
    X(CUDA_ERROR_JIT_COMPILER_NOT_FOUND, 221, "there is no PTX compiler")                                         \
    X(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, 222, "the PTX version is too new")                                      \
    X(CUDA_ERROR_JIT_COMPILATION_DISABLED, 223, "PTX compilation is disabled")                                    \
    X(CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY, 224, "the device does not know this execution affinity")              \
    X(CUDA_ERROR_UNSUPPORTED_DEVSIDE_SYNC, 225, "device code synchronizes in a way that is not supported")        \
    X(CUDA_ERROR_CONTAINED, 226, "an error on the device was contained")                                          \
    X(CUDA_ERROR_INVALID_SOURCE, 300, "the kernel source is not valid")                                           \
    X(CUDA_ERROR_FILE_NOT_FOUND, 301, "the file does not exist")                                                  \
    X(CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND, 302, "a symbol of a shared object is missing")                   \
    X(CUDA_ERROR_SHARED_OBJECT_INIT_FAILED, 303, "a shared object could not be loaded")                           \
    X(CUDA_ERROR_OPERATING_SYSTEM, 304, "a call of the operating system failed")                                  \
    X(CUDA_ERROR_INVALID_HANDLE, 400, "the handle is not valid")                                                  \
    X(CUDA_ERROR_ILLEGAL_STATE, 401, "the resource is not in a state that allows this")                           \
    X(CUDA_ERROR_LOSSY_QUERY, 402, "the answer would lose information")                                           \
    X(CUDA_ERROR_NOT_FOUND, 500, "no such name")                                                                  \
    X(CUDA_ERROR_NOT_READY, 600, "earlier work is not done yet")                                                  \
    X(CUDA_ERROR_ILLEGAL_ADDRESS, 700, "device code used an address that is not valid")                           \
    X(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, 701, "the launch needs more than the device has")                       \
    X(CUDA_ERROR_LAUNCH_TIMEOUT, 702, "the kernel ran too long")                                                  \
    X(CUDA_ERROR_LAUNCH_INCOMPATIBLE_TEXTURING, 703, "the launch has an incompatible texturing mode")             \
    X(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, 704, "access to the peer is enabled already")                       \
    X(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED, 705, "access to the peer is not enabled")                               \
    X(CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE, 708, "the primary context is active")                                    \
    X(CUDA_ERROR_CONTEXT_IS_DESTROYED, 709, "the context was destroyed")                                          \
    X(CUDA_ERROR_ASSERT, 710, "an assertion in device code failed")                                               \
    X(CUDA_ERROR_TOO_MANY_PEERS, 711, "too many peers have access")                                               \
    X(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, 712, "the host memory is registered already")                    \
    X(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, 713, "the host memory is not registered")                            \
    X(CUDA_ERROR_HARDWARE_STACK_ERROR, 714, "stack error in device code")                                         \
    X(CUDA_ERROR_ILLEGAL_INSTRUCTION, 715, "illegal instruction in device code")                                  \
    X(CUDA_ERROR_MISALIGNED_ADDRESS, 716, "misaligned address in device code")                                    \
    X(CUDA_ERROR_INVALID_ADDRESS_SPACE, 717, "device code used an address of the wrong space")                    \
    X(CUDA_ERROR_INVALID_PC, 718, "the program counter left the device code")                                     \
    X(CUDA_ERROR_LAUNCH_FAILED, 719, "device code failed")                                                        \
    X(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, 720, "the cooperative launch has too many blocks")                 \
    X(CUDA_ERROR_TENSOR_MEMORY_LEAK, 721, "device code leaked tensor memory")                                     \
    X(CUDA_ERROR_NOT_PERMITTED, 800, "not permitted")                                                             \
    X(CUDA_ERROR_NOT_SUPPORTED, 801, "not supported")                                                             \
    X(CUDA_ERROR_SYSTEM_NOT_READY, 802, "the system is not ready for device work")                                \
    X(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, 803, "kernel driver and library differ in version")                      \
    X(CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE, 804, "forward compatibility is not supported on the device")     \
    X(CUDA_ERROR_MPS_CONNECTION_FAILED, 805, "no connection to the MPS server")                                   \
    X(CUDA_ERROR_MPS_RPC_FAILURE, 806, "a call to the MPS server failed")                                         \
    X(CUDA_ERROR_MPS_SERVER_NOT_READY, 807, "the MPS server is not ready")                                        \
    X(CUDA_ERROR_MPS_MAX_CLIENTS_REACHED, 808, "the MPS server has too many clients")                             \
    X(CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED, 809, "the MPS server has too many connections")                     \
    X(CUDA_ERROR_MPS_CLIENT_TERMINATED, 810, "the MPS server ended this client")                                  \
    X(CUDA_ERROR_CDP_NOT_SUPPORTED, 811, "launches from device code are not supported")                           \
    X(CUDA_ERROR_CDP_VERSION_MISMATCH, 812, "launches from device code use another version")                      \
    X(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, 900, "not allowed while the stream is captured")                     \
    X(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, 901, "an earlier error ended the capture")                           \
    X(CUDA_ERROR_STREAM_CAPTURE_MERGE, 902, "the call would merge two captures")                                  \
    X(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, 903, "the capture was begun on another stream")                        \
    X(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, 904, "a captured fork was not joined")                                  \
    X(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, 905, "the call would make a capture depend on other work")             \
    X(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, 906, "the legacy stream would be captured")                             \
    X(CUDA_ERROR_CAPTURED_EVENT, 907, "the event belongs to a capture")                                           \
    X(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, 908, "the capture was begun by another thread")                     \
    X(CUDA_ERROR_TIMEOUT, 909, "timed out")                                                                       \
    X(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, 910, "the graph could not be updated")                                \
    X(CUDA_ERROR_EXTERNAL_DEVICE, 911, "an external device failed")                                               \
    X(CUDA_ERROR_INVALID_CLUSTER_SIZE, 912, "the cluster size is not valid")                                      \
    X(CUDA_ERROR_FUNCTION_NOT_LOADED, 913, "the function is not loaded")                                          \
    X(CUDA_ERROR_INVALID_RESOURCE_TYPE, 914, "the resource has the wrong type")                                   \
    X(CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION, 915, "the resource configuration is not valid")                  \
    X(CUDA_ERROR_KEY_ROTATION, 916, "a key rotation is needed")                                                   \
    X(CUDA_ERROR_UNKNOWN, 999, "unknown error")

typedef enum {
#define CUDA_ABI_MEMBER(name, number, text) name = number,
    CUDA_RESULTS(CUDA_ABI_MEMBER)
#undef CUDA_ABI_MEMBER
} CUresult;

#endif
