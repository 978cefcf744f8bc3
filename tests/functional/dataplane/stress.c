/* Random calls from several threads, checked against what they must give; built together with the
 * runtime's sources and a sanitizer. stress SEED THREADS STEPS KERNELS */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/cuda_abi.h"

CUresult cuInit(unsigned int);
CUresult cuDevicePrimaryCtxRetain(CUcontext *, CUdevice);
CUresult cuCtxSetCurrent(CUcontext);
CUresult cuCtxSynchronize(void);
CUresult cuMemAlloc_v2(CUdeviceptr *, size_t);
CUresult cuMemFree_v2(CUdeviceptr);
CUresult cuMemGetInfo_v2(size_t *, size_t *);
CUresult cuMemHostAlloc(void **, size_t, unsigned int);
CUresult cuMemFreeHost(void *);
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr, const void *, size_t, CUstream);
CUresult cuMemcpyDtoHAsync_v2(void *, CUdeviceptr, size_t, CUstream);
CUresult cuMemsetD8Async(CUdeviceptr, unsigned char, size_t, CUstream);
CUresult cuStreamCreate(CUstream *, unsigned int);
CUresult cuStreamDestroy_v2(CUstream);
CUresult cuStreamSynchronize(CUstream);
CUresult cuStreamSynchronize_ptsz(CUstream);
CUresult cuStreamWaitEvent(CUstream, CUevent, unsigned int);
CUresult cuEventCreate(CUevent *, unsigned int);
CUresult cuEventRecord(CUevent, CUstream);
CUresult cuEventSynchronize(CUevent);
CUresult cuEventDestroy_v2(CUevent);
CUresult cuModuleLoad(CUmodule *, const char *);
CUresult cuModuleUnload(CUmodule);
CUresult cuModuleGetFunction(CUfunction *, CUmodule, const char *);
CUresult cuLaunchKernel(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream,
                        void **, void **);

#define CHECK(expression)                                                            \
    do {                                                                             \
        CUresult result = (expression);                                              \
        if (result != CUDA_SUCCESS) {                                                \
            fprintf(stderr, "%s: %d (line %d)\n", #expression, result, __LINE__);    \
            exit(1);                                                                 \
        }                                                                            \
    } while (0)

static CUcontext context;
static const char *kernels;
static unsigned steps;

struct worker {
    unsigned seed;
    CUstream stream;
};

static void expect(const unsigned char *bytes, size_t size, unsigned char value, const char *what)
{
    for (size_t index = 0; index < size; index++) {
        if (bytes[index] == value)
            continue;
        fprintf(stderr, "%s: byte %zu is %d, not %d\n", what, index, bytes[index], value);
        exit(1);
    }
}

static void plain_copy(struct worker *worker)
{
    size_t size = (size_t)rand_r(&worker->seed) % 300000 + 1;
    unsigned char value = (unsigned char)rand_r(&worker->seed), *bytes = malloc(size);
    CUdeviceptr device;
    CHECK(cuMemAlloc_v2(&device, size));
    memset(bytes, value, size);
    CHECK(cuMemcpyHtoDAsync_v2(device, bytes, size, worker->stream));
    memset(bytes, ~value, size);
    CHECK(cuMemcpyDtoHAsync_v2(bytes, device, size, worker->stream));
    expect(bytes, size, value, "plain");
    CHECK(cuMemFree_v2(device));
    free(bytes);
}

static void pinned_set(struct worker *worker)
{
    size_t size = (size_t)rand_r(&worker->seed) % 300000 + 1;
    unsigned char value = (unsigned char)rand_r(&worker->seed);
    CUdeviceptr device;
    void *bytes;
    CHECK(cuMemAlloc_v2(&device, size));
    CHECK(cuMemHostAlloc(&bytes, size, 0));
    CHECK(cuMemsetD8Async(device, value, size, worker->stream));
    CHECK(cuMemcpyDtoHAsync_v2(bytes, device, size, worker->stream));
    CHECK(cuStreamSynchronize(worker->stream));
    expect(bytes, size, value, "pinned");
    CHECK(cuMemFree_v2(device));
    CHECK(cuMemFreeHost(bytes));
}

static void events(struct worker *worker)
{
    CUstream other;
    CUevent event;
    CHECK(cuStreamCreate(&other, 1));
    CHECK(cuEventCreate(&event, 0));
    CHECK(cuEventRecord(event, worker->stream));
    CHECK(cuStreamWaitEvent(other, event, 0));
    CHECK(cuEventSynchronize(event));
    CHECK(cuStreamDestroy_v2(other));
    CHECK(cuEventDestroy_v2(event));
    CHECK(cuStreamSynchronize_ptsz(NULL));
}

static void kernel(struct worker *worker)
{
    CUmodule module;
    CUfunction function;
    CUdeviceptr device;
    int data[100], value = 3, count = 100;
    void *parameters[] = {&device, &value, &count};
    CHECK(cuModuleLoad(&module, kernels));
    CHECK(cuModuleGetFunction(&function, module, "add"));
    CHECK(cuMemAlloc_v2(&device, sizeof data));
    CHECK(cuMemsetD8Async(device, 0, sizeof data, worker->stream));
    for (int launch = 0; launch < 5; launch++)
        CHECK(cuLaunchKernel(function, 1, 1, 1, 128, 1, 1, 0, worker->stream, parameters, NULL));
    CHECK(cuMemcpyDtoHAsync_v2(data, device, sizeof data, worker->stream));
    if (data[0] != 15 || data[99] != 15) {
        fprintf(stderr, "kernel: %d %d\n", data[0], data[99]);
        exit(1);
    }
    CHECK(cuMemFree_v2(device));
    CHECK(cuModuleUnload(module));
}

static void *work(void *argument)
{
    static void (*const kinds[])(struct worker *) = {plain_copy, pinned_set, events, kernel};
    struct worker *worker = argument;
    CHECK(cuCtxSetCurrent(context));
    CHECK(cuStreamCreate(&worker->stream, 1));
    for (unsigned step = 0; step < steps; step++)
        kinds[rand_r(&worker->seed) % 4](worker);
    CHECK(cuStreamDestroy_v2(worker->stream));
    return NULL;
}

int main(int count, char **arguments)
{
    if (count != 5)
        return 2;
    unsigned threads = (unsigned)atoi(arguments[2]);
    pthread_t ids[16];
    struct worker workers[16];
    size_t before, after, total;
    steps = (unsigned)atoi(arguments[3]);
    kernels = arguments[4];
    CHECK(cuInit(0));
    CHECK(cuDevicePrimaryCtxRetain(&context, 0));
    CHECK(cuCtxSetCurrent(context));
    CHECK(cuMemGetInfo_v2(&before, &total));
    for (unsigned index = 0; index < threads && index < 16; index++) {
        workers[index].seed = (unsigned)atoi(arguments[1]) * 100 + index;
        pthread_create(&ids[index], NULL, work, &workers[index]);
    }
    for (unsigned index = 0; index < threads && index < 16; index++)
        pthread_join(ids[index], NULL);
    CHECK(cuCtxSynchronize());
    CHECK(cuMemGetInfo_v2(&after, &total));
    printf("%zu\n", before - after);
    return 0;
}
