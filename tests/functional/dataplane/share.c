/* Kernels that say when they ran; with BIG, a global larger than the claims of the tests. */
#include <refcuda_kernel.h>
#include <stdatomic.h>
#include <time.h>

static long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

/* log[0] counts; pairs of start and end follow. */
REFCUDA_KERNEL(logged, (long *, log), (long, nanoseconds))
{
    long start = now();
    while (now() - start < nanoseconds)
        ;
    long at = atomic_fetch_add((_Atomic long *)log, 1);
    log[1 + 2 * at] = start;
    log[2 + 2 * at] = now();
}

#ifdef BIG
REFCUDA_GLOBAL(char, big, [200 << 20]);
#else
REFCUDA_GLOBAL(char, small, [1 << 20]);
#endif
