/* Libraries: images that are loaded into each context on first use there; their kernels. */
#ifndef REFCUDA_LIBRARY_H
#define REFCUDA_LIBRARY_H

#include "refcuda/module.h"

struct library;

struct kernel {
    struct object object;
    struct library *library; /* counted */
    const struct refcuda_kernel *description;
};

/* The kernel of a handle, counted; or why there is none. */
CUresult kernel_acquire(CUkernel handle, struct kernel **kernel);

CUlibrary kernel_library(const struct kernel *kernel);

/* The function, in the current context, of the kernel a handle stands for. */
CUresult library_function(CUkernel handle, CUfunction *function);

#endif
