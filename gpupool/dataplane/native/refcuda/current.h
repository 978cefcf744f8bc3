/* The contexts that are current to threads, and what a context's handle stands for. */
#ifndef REFCUDA_CURRENT_H
#define REFCUDA_CURRENT_H

#include <stdbool.h>

#include "cuda/cuda_abi.h"

struct context;

/* The calling thread's current context, counted; or why there is none. */
CUresult context_current(struct context **context);

/* The context of a handle, counted; or why there is none. */
CUresult context_acquire(CUcontext handle, struct context **context);

/* Why something of a context could not be made: the context ended meanwhile, or there is no memory. */
CUresult context_refusal(const struct context *context);

/* The calling thread's stack. */
bool context_push(CUcontext handle);
CUcontext context_top(void); /* NULL when empty */
CUcontext context_pop(void); /* NULL when empty */

#endif
