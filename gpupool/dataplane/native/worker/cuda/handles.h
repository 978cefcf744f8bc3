/* What a client's handles stand for. */
#ifndef GPUPOOL_WORKER_CUDA_HANDLES_H
#define GPUPOOL_WORKER_CUDA_HANDLES_H

#include "cuda/cuda_abi.h"
#include "worker/session.h"

#define MODULE_PARAMETERS 900u /* most that one answer describes */

struct function {
    CUfunction handle;
    uint64_t module;
    bool layout_known; /* the driver says where parameters lie */
    uint32_t parameter_count;
    uint32_t parameter_bytes;
    struct { uint16_t offset, bytes; } parameters[MODULE_PARAMETERS];
};

struct module {
    CUmodule handle;
    uint64_t charged; /* bytes of device memory ... */
    uint64_t host_charged; /* ... and of the host's, where the device library keeps a copy */
};

/* Find the driver's own handle; false when the client's stands for nothing. Stream 0 is the default stream. */
bool object_stream(struct session *session, uint64_t handle, CUstream *stream);
bool object_event(struct session *session, uint64_t handle, CUevent *event);
bool object_module(struct session *session, uint64_t handle, CUmodule *module);
bool object_function(struct session *session, uint64_t handle, CUfunction *function);

#endif
