/* The contexts that a thread has made current: the newest is on top. */
#ifndef GPUPOOL_RUNTIME_CUDA_CURRENT_H
#define GPUPOOL_RUNTIME_CUDA_CURRENT_H

#include <stdbool.h>

#include "cuda/cuda_abi.h"

/* NULL: none. */
CUcontext current_top(void);
CUcontext current_pop(void);
/* False when there is no memory, or the stack is full. */
bool current_push(CUcontext context);
/* After fork(), in the child: no context is current. */
void current_forget(void);

#endif
