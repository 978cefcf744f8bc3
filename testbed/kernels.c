/* Kernels of the data plane's tests and benches, for the reference device. */
#include <refcuda_kernel.h>
#include <time.h>

REFCUDA_GLOBAL(int, counter, [4]);

/* c = a b, row major, n by n. */
REFCUDA_KERNEL(matmul, (const float *, a), (const float *, b), (float *, c), (int, n))
{
    REFCUDA_THREADS {
        int row = block->blockIdx.y * block->blockDim.y + threadIdx.y;
        int column = block->blockIdx.x * block->blockDim.x + threadIdx.x;
        if (row >= n || column >= n)
            continue;
        float sum = 0;
        for (int k = 0; k < n; k++)
            sum += a[row * n + k] * b[k * n + column];
        c[row * n + column] = sum;
    }
}

REFCUDA_KERNEL(add, (int *, data), (int, value), (int, n))
{
    REFCUDA_THREADS {
        int i = block->blockIdx.x * block->blockDim.x + threadIdx.x;
        if (i < n)
            data[i] += value;
    }
}

/* Parameters of every size, so that a wrong offset shows. */
REFCUDA_KERNEL(mixed, (double *, out), (char, a), (short, b), (int, c), (long, d), (float, e), (double, f))
{
    REFCUDA_THREADS {
        if (threadIdx.x == 0)
            *out = a + b * 10.0 + c * 100.0 + d * 1000.0 + e * 10000.0 + f * 100000.0;
    }
}

REFCUDA_KERNEL(nothing, (int, unused))
{
    (void)unused;
}

/* Keeps a compute unit busy for a time. */
REFCUDA_KERNEL(spin, (long, nanoseconds))
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long until = now.tv_sec * 1000000000L + now.tv_nsec + nanoseconds;
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while (now.tv_sec * 1000000000L + now.tv_nsec < until);
}

/* Keeps a compute unit busy until the flag is set. */
REFCUDA_KERNEL(wait_for, (volatile int *, flag))
{
    struct timespec pause = {.tv_nsec = 100000};
    while (!*flag)
        nanosleep(&pause, NULL);
}

REFCUDA_KERNEL(count, (int, value))
{
    counter[0] += value;
}
