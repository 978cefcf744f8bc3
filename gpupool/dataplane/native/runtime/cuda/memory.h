/* Device memory as the program sees it. */
#ifndef GPUPOOL_RUNTIME_CUDA_MEMORY_H
#define GPUPOOL_RUNTIME_CUDA_MEMORY_H

#include "gpupool_messages.h"
#include "runtime/cuda/call.h"

/* The allocation, or the module's global, that holds the address: that of the current device before those of others. */
CUresult memory_find(CUdeviceptr address, struct range *range);
/* Set memory on a stream, after looking whose it is; `request` has all but the stream. */
CUresult memory_set(struct memory_set_request request, CUstream stream, bool per_thread);

#endif
