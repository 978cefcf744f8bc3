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

/* Where the program says that one end of a copy is. */
enum copy_kind {
    COPY_HOST,
    COPY_DEVICE,
    COPY_EITHER, /* what no device's memory holds is host memory */
    COPY_CONTEXT, /* the memory of the context's device */
};

struct copy_place {
    enum copy_kind kind;
    uint64_t address;
    CUcontext context;
};

/* Copy a run of bytes, or a rectangle of them; `waits` for the blocking forms. */
CUresult copy_bytes(struct copy_place to, struct copy_place from, size_t bytes, CUstream stream, bool per_thread,
                    bool waits);
CUresult copy_rectangle(const CUDA_MEMCPY2D *box, CUstream stream, bool per_thread, bool waits);

/* Resolve the stream of a copy. */
CUresult copy_begin(struct order *order, CUstream stream, bool per_thread, bool waits);
/* A device address of `bytes` bytes; false when it is none. */
bool copy_device_end(const struct order *order, CUdeviceptr address, size_t bytes, struct end *end);
/* Copy, whatever the ends are. */
CUresult copy_run(const struct order *order, struct end to, struct end from, size_t bytes);

#endif
