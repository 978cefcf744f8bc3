/* What CUDA keeps of a session's device. */
#ifndef GPUPOOL_RUNTIME_CUDA_DEVICE_H
#define GPUPOOL_RUNTIME_CUDA_DEVICE_H

#include "cuda/cuda_abi.h"
#include "gpupool_messages.h"
#include "runtime/session.h"

struct device {
    pthread_mutex_t load_lock; /* one module image at a time */
    uint64_t primary; /* handle of the primary context */
    atomic_uint primary_retained; /* changed under the session's table lock */
    atomic_uint primary_flags;
    struct snapshot_reply snapshot;
};

struct context {
    unsigned flags;
    bool primary;
};

/* Make session->device, when the worker serves; for process.h. */
enum result device_learn(struct session *session);
/* The session of a device, opened at need. */
CUresult device_session(CUdevice device, struct session **session);

#endif
