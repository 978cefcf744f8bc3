/* Many threads, one device: allocations, copies, streams, modules and contexts at the same time. */
#include <pthread.h>
#include <string.h>

#include "check.h"

enum { THREADS = 6, ROUNDS = 15, FLOATS = 3000 };

static CUcontext shared_context;

static void work(CUstream stream)
{
    static _Thread_local float host[FLOATS];
    CUmodule module;
    CUfunction scale = load(&module, "scale");
    CUevent event;
    CUdeviceptr data;
    float factor = 3;
    int n = FLOATS;
    void *parameters[] = {&data, &factor, &n};
    for (int i = 0; i < FLOATS; i++)
        host[i] = (float)i;
    CHECK(cuEventCreate(&event, 0));
    CHECK(cuMemAlloc_v2(&data, sizeof host));
    CHECK(cuMemcpyHtoDAsync_v2(data, host, sizeof host, stream));
    memset(host, 0, sizeof host);
    CHECK(cuLaunchKernel(scale, (FLOATS + 63) / 64, 1, 1, 64, 1, 1, 0, stream, parameters, NULL));
    CHECK(cuEventRecord(event, stream));
    CHECK(cuMemcpyDtoHAsync_v2(host, data, sizeof host, stream));
    CHECK(cuEventSynchronize(event));
    for (int i = 0; i < FLOATS; i++)
        TRUE(host[i] == (float)i * 3);
    CHECK(cuMemFree_v2(data));
    CHECK(cuEventDestroy_v2(event));
    CHECK(cuModuleUnload(module));
}

static void in_shared_context(int thread)
{
    CUstream stream;
    CHECK(cuCtxSetCurrent(shared_context));
    CHECK(cuStreamCreate(&stream, thread % 2 ? CU_STREAM_NON_BLOCKING : CU_STREAM_DEFAULT));
    work(stream);
    CHECK(cuStreamDestroy_v2(stream));
    work(NULL);
    work(CU_STREAM_PER_THREAD);
}

static void in_own_context(void)
{
    CUcontext context, popped;
    CHECK(cuCtxCreate_v2(&context, 0, 1));
    work(CU_STREAM_PER_THREAD);
    CHECK(cuCtxPopCurrent_v2(&popped));
    TRUE(popped == context);
    CHECK(cuCtxDestroy_v2(context));
}

static void in_primary_context(void)
{
    CUcontext context;
    CHECK(cuDevicePrimaryCtxRetain(&context, 1));
    CHECK(cuCtxPushCurrent_v2(context));
    work(CU_STREAM_PER_THREAD);
    CHECK(cuCtxPopCurrent_v2(NULL));
    CHECK(cuDevicePrimaryCtxRelease_v2(1));
}

static void *thread_main(void *number)
{
    for (int i = 0; i < ROUNDS; i++) {
        in_shared_context(*(int *)number);
        in_own_context();
        in_primary_context();
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];
    size_t free_bytes, total;
    shared_context = begin(argc, argv);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        TRUE(!pthread_create(&threads[i], NULL, thread_main, &numbers[i]));
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK(cuMemGetInfo_v2(&free_bytes, &total));
    TRUE(free_bytes == total);
    CHECK(cuCtxDestroy_v2(shared_context));
    return 0;
}
