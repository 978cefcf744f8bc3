/* A device's compute units: threads that run the blocks of kernels, one block each at a time. */
#ifndef REFCUDA_COMPUTE_H
#define REFCUDA_COMPUTE_H

#include <stdbool.h>
#include <stddef.h>

#define REFCUDA_NO_IMAGE
#include "refcuda/include/refcuda_kernel.h"

enum { LARGEST_BLOCK = 1024 }; /* threads */
enum { SHARED_DEFAULT = 48 << 10, SHARED_LARGEST = 96 << 10 }; /* bytes of dynamic shared memory per block */

struct compute;

struct grid {
    void (*run)(const struct refcuda_block *block, const void *arguments);
    const void *arguments;
    struct refcuda_dim3 gridDim, blockDim;
    size_t shared_bytes;
    int priority; /* lower runs first */
};

/* NULL when the system has no memory. Threads start with the first grid. */
struct compute *compute_new(unsigned units);

/* Waits for the threads to end. No grid may be running. */
void compute_end(struct compute *compute);

/* Runs every block of the grid and returns when all are done. Grids of several callers share the units.
 * False, with nothing run, when no thread could be started. */
bool compute_run(struct compute *compute, const struct grid *grid);

#endif
