#ifndef GPUPOOL_RUNTIME_CUDA_STREAM_H
#define GPUPOOL_RUNTIME_CUDA_STREAM_H

#include "runtime/cuda/call.h"

struct stream {
    struct item item;
    unsigned flags;
    int priority;
};

/* Resolve a stream; NULL is the legacy default stream, or the thread's own. */
CUresult call_stream(struct call *call, CUstream stream, bool per_thread, uint64_t *number);
/* Resolve a stream and copy what is known of it; of the legacy default stream, whose number is 0, nothing is. */
CUresult stream_look(struct call *call, CUstream handle, bool per_thread, struct stream *stream, uint64_t *number);
/* Wait until the stream has done its work; 0 is the legacy default stream. */
CUresult stream_wait(struct session *session, uint64_t stream);
/* After fork(), in the child: the thread has no default streams of its own. */
void stream_forget(void);

#endif
