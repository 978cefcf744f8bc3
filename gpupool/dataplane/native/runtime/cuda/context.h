#ifndef GPUPOOL_RUNTIME_CUDA_CONTEXT_H
#define GPUPOOL_RUNTIME_CUDA_CONTEXT_H

#include "runtime/cuda/call.h"

/* Free what belongs to a context; the table lock is held. */
void context_clear(struct session *session, uint64_t context);
bool context_flags_ok(unsigned flags);

#endif
