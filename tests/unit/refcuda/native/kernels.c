/* Kernels the tests of the reference device run. */
#include <sched.h>

#include "refcuda_kernel.h"

REFCUDA_GLOBAL(int, counter);
REFCUDA_GLOBAL(double, table, [4]);

REFCUDA_KERNEL(nothing)
{
}

REFCUDA_KERNEL(scale, (float *, data), (float, factor), (int, n))
{
    REFCUDA_THREADS {
        int i = (int)(block->blockIdx.x * block->blockDim.x + threadIdx.x);
        if (i < n)
            data[i] *= factor;
    }
}

/* Runs until the program, which shares the flag as pinned memory, lets it go. */
REFCUDA_KERNEL(wait_for_flag, (int *, flag))
{
    while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE))
        sched_yield();
}

REFCUDA_KERNEL(add_to_counter, (int, number))
{
    __atomic_fetch_add(&counter, number, __ATOMIC_RELAXED);
}

REFCUDA_KERNEL(read_counter, (int *, out))
{
    *out = counter;
}

/* Writes which thread of which block it is: out[linear thread of the whole grid] = linear block * 1000 + thread. */
REFCUDA_KERNEL(identify, (unsigned *, out))
{
    const struct refcuda_dim3 *at = &block->blockIdx, *grid = &block->gridDim, *size = &block->blockDim;
    unsigned place = (at->z * grid->y + at->y) * grid->x + at->x, threads = size->x * size->y * size->z;
    REFCUDA_THREADS {
        unsigned thread = (threadIdx.z * size->y + threadIdx.y) * size->x + threadIdx.x;
        out[place * threads + thread] = place * 1000 + thread;
    }
}

/* Each block turns its part around, through shared memory, with a barrier between. */
REFCUDA_KERNEL(reverse, (int *, data))
{
    int *part = data + block->blockIdx.x * block->blockDim.x, *shared = block->shared;
    REFCUDA_THREADS
        shared[threadIdx.x] = part[threadIdx.x];
    REFCUDA_THREADS
        part[threadIdx.x] = shared[block->blockDim.x - 1 - threadIdx.x];
}

/* Parameters of every alignment. */
REFCUDA_KERNEL(collect, (char, a), (double, b), (short, c), (int, d), (char, e), (double *, out))
{
    out[0] = a;
    out[1] = b;
    out[2] = c;
    out[3] = d;
    out[4] = e;
}
