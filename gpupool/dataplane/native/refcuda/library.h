/* Libraries: images that are loaded into each context on first use there; their kernels. */
#ifndef REFCUDA_LIBRARY_H
#define REFCUDA_LIBRARY_H

#include "refcuda/module.h"

/* The function, in the current context, of the kernel a handle stands for. */
CUresult library_function(CUkernel handle, CUfunction *function);

#endif
