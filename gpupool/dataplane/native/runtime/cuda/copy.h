#ifndef GPUPOOL_RUNTIME_CUDA_COPY_H
#define GPUPOOL_RUNTIME_CUDA_COPY_H

#include "runtime/session.h"
#include "cuda/cuda_abi.h"

/* One end: device memory of a session, or host memory (NULL). */
struct end {
    struct session *session;
    uint64_t address;
};

struct order {
    struct session *session; /* whose stream it is */
    uint64_t stream;
    bool waits; /* the blocking form */
};

/* Resolve the stream of a copy. */
CUresult copy_begin(struct order *order, CUstream stream, bool per_thread, bool waits);
/* A device address of `bytes` bytes; false when it is none. */
bool copy_device_end(const struct order *order, CUdeviceptr address, size_t bytes, struct end *end);
/* Copy, whatever the ends are. */
CUresult copy_run(const struct order *order, struct end to, struct end from, size_t bytes);

#endif
