/* The life of contexts. */
#ifndef REFCUDA_CONTEXTS_H
#define REFCUDA_CONTEXTS_H

#include <stdbool.h>

#include "cuda/cuda_abi.h"

struct device;

/* A new context, published. */
CUresult context_new(struct device *device, unsigned flags, bool primary, CUcontext *handle);

/* Ends its streams and frees all that is in it. INVALID_CONTEXT when the handle stands for none. */
CUresult context_end(CUcontext handle);

#endif
