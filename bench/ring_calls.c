/* What calls cost a program: one-way calls (event record, launch of an empty kernel) in bursts that the
 * ring holds, and a synchronous call (event query). On whatever libcuda.so.1 the loader finds.
 * Prints nanoseconds per call: processor time of the calling thread for the one-way calls, wall time for
 * the synchronous one. ring_calls COUNT KERNELS */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cuda/cuda_abi.h"

#define BURST 500 /* fits the ring */

static double now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void *library;

static void *find(const char *name)
{
    void *found = dlsym(library, name);
    if (!found) {
        fprintf(stderr, "no %s\n", name);
        exit(1);
    }
    return found;
}

static void check(CUresult result, const char *what)
{
    if (result != CUDA_SUCCESS) {
        fprintf(stderr, "%s: CUDA error %d\n", what, result);
        exit(1);
    }
}

typedef CUresult launch_type(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream,
                             void **, void **);
static launch_type *launch;
static CUresult (*record)(CUevent, CUstream);
static CUresult (*query)(CUevent);
static CUresult (*synchronize)(void);
static CUfunction function;
static CUevent event;

static void start(const char *kernels)
{
    CUcontext context;
    CUmodule module;
    check(((CUresult(*)(unsigned))find("cuInit"))(0), "cuInit");
    check(((CUresult(*)(CUcontext *, CUdevice))find("cuDevicePrimaryCtxRetain"))(&context, 0), "retain");
    check(((CUresult(*)(CUcontext))find("cuCtxSetCurrent"))(context), "set current");
    check(((CUresult(*)(CUmodule *, const char *))find("cuModuleLoad"))(&module, kernels), "load");
    check(((CUresult(*)(CUfunction *, CUmodule, const char *))find("cuModuleGetFunction"))(&function, module, "nothing"),
          "function");
    check(((CUresult(*)(CUevent *, unsigned))find("cuEventCreate"))(&event, CU_EVENT_DISABLE_TIMING), "event");
    launch = (launch_type *)find("cuLaunchKernel");
    record = (CUresult(*)(CUevent, CUstream))find("cuEventRecord");
    query = (CUresult(*)(CUevent))find("cuEventQuery");
    synchronize = (CUresult(*)(void))find("cuCtxSynchronize");
}

static void one_launch(void)
{
    int unused = 0;
    void *parameters[] = {&unused};
    check(launch(function, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL), "launch");
}

static void one_record(void)
{
    check(record(event, NULL), "record");
}

/* Only the time the calls themselves take; the device catches up between bursts. */
static double in_bursts(void (*call)(void), int calls)
{
    double spent = 0;
    for (int burst = 0; burst < calls / BURST; burst++) {
        double begun = now_ns(CLOCK_THREAD_CPUTIME_ID);
        for (int index = 0; index < BURST; index++)
            call();
        spent += now_ns(CLOCK_THREAD_CPUTIME_ID) - begun;
        check(synchronize(), "synchronize");
    }
    return spent / (calls / BURST * BURST);
}

static double queries(int calls)
{
    check(synchronize(), "synchronize");
    double begun = now_ns(CLOCK_MONOTONIC);
    for (int index = 0; index < calls; index++)
        check(query(event), "query");
    return (now_ns(CLOCK_MONOTONIC) - begun) / calls;
}

int main(int count, char **arguments)
{
    if (count != 3)
        return 2;
    int calls = atoi(arguments[1]);
    library = dlopen("libcuda.so.1", RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    start(arguments[2]);
    in_bursts(one_record, BURST);
    printf("%.1f", in_bursts(one_record, calls));
    printf(" %.1f", in_bursts(one_launch, calls));
    printf(" %.1f\n", queries(calls / 10));
    return 0;
}
