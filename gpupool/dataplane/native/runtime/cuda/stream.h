#ifndef GPUPOOL_RUNTIME_CUDA_STREAM_H
#define GPUPOOL_RUNTIME_CUDA_STREAM_H

#include "runtime/cuda/call.h"

/* Resolve a stream; NULL is the legacy default stream, or the thread's own. */
CUresult call_stream(struct call *call, CUstream stream, bool per_thread, uint64_t *number);
/* Wait until the stream has done its work; 0 is the legacy default stream. */
CUresult stream_wait(struct session *session, uint64_t stream);
/* After fork(), in the child: the thread has no default streams of its own. */
void stream_forget(void);

#endif
