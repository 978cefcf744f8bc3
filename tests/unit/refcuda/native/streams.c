/* What waits for what: streams, events, the default streams, host functions. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "check.h"

static CUfunction gate;
static atomic_int *flag; /* pinned: the gate kernel waits for it */

static void shut(CUstream stream, CUresult (*launch)(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned,
                                                    unsigned, unsigned, CUstream, void **, void **))
{
    void *parameters[] = {&flag};
    atomic_store(flag, 0);
    CHECK(launch(gate, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL));
}

static void open_gate(void)
{
    atomic_store(flag, 1);
}

static void one_stream(void)
{
    CUstream stream;
    CUevent before, after;
    CUdeviceptr data;
    float milliseconds = -1;
    int value = 5;
    CHECK(cuStreamCreate(&stream, 0));
    CHECK(cuEventCreate(&before, 0));
    CHECK(cuEventCreate(&after, 0));
    CHECK(cuMemAlloc_v2(&data, sizeof value));
    CHECK(cuStreamQuery(stream));
    CHECK(cuEventQuery(after));
    CHECK(cuEventRecord(before, stream));
    shut(stream, cuLaunchKernel);
    CHECK(cuMemsetD32Async(data, 9, 1, stream));
    CHECK(cuEventRecord(after, stream));
    EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(stream));
    EXPECT(CUDA_ERROR_NOT_READY, cuEventQuery(after));
    EXPECT(CUDA_ERROR_NOT_READY, cuEventElapsedTime_v2(&milliseconds, before, after));
    CHECK(cuEventSynchronize(before));
    open_gate();
    CHECK(cuEventSynchronize(after));
    CHECK(cuStreamQuery(stream));
    CHECK(cuEventElapsedTime_v2(&milliseconds, before, after));
    TRUE(milliseconds > 0);
    CHECK(cuMemcpyDtoH_v2(&value, data, sizeof value));
    TRUE(value == 9);
    CHECK(cuStreamDestroy_v2(stream));
}

static void other_streams(void)
{
    CUstream held, waiting, independent;
    CUevent event;
    CHECK(cuStreamCreate(&held, CU_STREAM_NON_BLOCKING));
    CHECK(cuStreamCreate(&waiting, CU_STREAM_NON_BLOCKING));
    CHECK(cuStreamCreate(&independent, CU_STREAM_NON_BLOCKING));
    CHECK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    shut(held, cuLaunchKernel);
    CHECK(cuEventRecord(event, held));
    CHECK(cuStreamWaitEvent(waiting, event, 0));
    CHECK(cuStreamSynchronize(independent));
    CHECK(cuStreamSynchronize(CU_STREAM_LEGACY));
    EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(waiting));
    open_gate();
    CHECK(cuStreamSynchronize(waiting));
    CHECK(cuStreamQuery(held));
    EXPECT(CUDA_ERROR_INVALID_HANDLE, cuEventElapsedTime_v2(&(float){0}, event, event));
    CHECK(cuCtxSynchronize());
}

/* The legacy stream waits for blocking streams, and they for it. */
static void legacy_stream(void)
{
    CUstream blocking, free_one;
    CUdeviceptr data;
    int value;
    CHECK(cuStreamCreate(&blocking, CU_STREAM_DEFAULT));
    CHECK(cuStreamCreate(&free_one, CU_STREAM_NON_BLOCKING));
    CHECK(cuMemAlloc_v2(&data, sizeof value));
    shut(blocking, cuLaunchKernel);
    CHECK(cuMemsetD32_v2(data, 1, 1));
    EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(NULL));
    CHECK(cuMemsetD32Async(data, 2, 1, blocking));
    CHECK(cuMemsetD32Async(data, 3, 1, free_one));
    CHECK(cuStreamSynchronize(free_one));
    open_gate();
    CHECK(cuMemcpyDtoH_v2(&value, data, sizeof value));
    TRUE(value == 2);
    CHECK(cuStreamQuery(NULL));
}

/* The twins' null stream is the thread's own, which waits for the legacy stream only. */
static void thread_stream(void)
{
    CUdeviceptr data;
    int value;
    CHECK(cuMemAlloc_v2(&data, sizeof value));
    shut(NULL, cuLaunchKernel_ptsz);
    EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery_ptsz(NULL));
    EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(CU_STREAM_PER_THREAD));
    open_gate();
    CHECK(cuMemsetD32_v2_ptds(data, 4, 1));
    CHECK(cuStreamSynchronize_ptsz(NULL));
    CHECK(cuMemcpyDtoH_v2_ptds(&value, data, sizeof value));
    TRUE(value == 4);
}

/* Freeing memory and unloading wait for what may use it. */
static void *open_later(void *unused)
{
    open_gate();
    return unused;
}

static void implicit_waits(void)
{
    CUstream stream;
    CUdeviceptr data;
    pthread_t thread;
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CHECK(cuMemAlloc_v2(&data, 100));
    shut(stream, cuLaunchKernel);
    CHECK(cuMemsetD8Async(data, 1, 100, stream));
    TRUE(!pthread_create(&thread, NULL, open_later, NULL));
    CHECK(cuMemFree_v2(data));
    CHECK(cuStreamQuery(stream));
    pthread_join(thread, NULL);
}

static void *synchronize_legacy(void *context)
{
    CHECK(cuCtxSetCurrent(context));
    CHECK(cuStreamSynchronize(NULL));
    return NULL;
}

/* One thread waits in a stream while another queues work behind it: they keep their order. */
static void two_in_one_stream(CUcontext context)
{
    CUstream blocking;
    CUdeviceptr data;
    CHECK(cuStreamCreate(&blocking, CU_STREAM_DEFAULT));
    CHECK(cuMemAlloc_v2(&data, 100));
    for (int i = 0; i < 50; i++) {
        pthread_t thread;
        shut(blocking, cuLaunchKernel);
        TRUE(!pthread_create(&thread, NULL, synchronize_legacy, context));
        for (int turn = 0; turn < i; turn++)
            sched_yield();
        CHECK(cuMemsetD8_v2(data, 1, 100));
        open_gate();
        CHECK(cuCtxSynchronize());
        pthread_join(thread, NULL);
    }
}

struct note {
    CUdeviceptr data;
    int seen;
    CUresult inside;
};

static void called(void *pointer)
{
    struct note *note = pointer;
    note->seen++;
    note->inside = cuMemcpyDtoH_v2(&(int){0}, note->data, sizeof(int));
}

static void called_with_stream(CUstream stream, CUresult status, void *pointer)
{
    (void)stream;
    ((struct note *)pointer)->seen += status == CUDA_SUCCESS ? 10 : 1000;
}

static void host_functions(void)
{
    struct note note = {0, 0, CUDA_SUCCESS};
    CUstream stream;
    CHECK(cuStreamCreate(&stream, 0));
    CHECK(cuMemAlloc_v2(&note.data, sizeof(int)));
    CHECK(cuLaunchHostFunc(stream, called, &note));
    CHECK(cuStreamAddCallback(stream, called_with_stream, &note, 0));
    CHECK(cuStreamSynchronize(stream));
    TRUE(note.seen == 11);
    TRUE(note.inside == CUDA_ERROR_NOT_PERMITTED);
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuLaunchHostFunc(stream, NULL, NULL));
}

/* Many dependencies, many streams, more work than threads. */
static void chain(void)
{
    enum { STREAMS = 6, STEPS = 200 };
    CUstream streams[STREAMS];
    CUevent events[STREAMS];
    CUmodule module;
    CUfunction scale = load(&module, "scale");
    CUdeviceptr data;
    float factors[2] = {2, 0.5f}, value = 1;
    int n = 1;
    CHECK(cuMemAlloc_v2(&data, sizeof value));
    CHECK(cuMemcpyHtoD_v2(data, &value, sizeof value));
    for (int i = 0; i < STREAMS; i++) {
        CHECK(cuStreamCreateWithPriority(&streams[i], CU_STREAM_NON_BLOCKING, -(i % 3)));
        CHECK(cuEventCreate(&events[i], 0));
    }
    for (int i = 0; i < STREAMS * STEPS; i++) {
        int here = i % STREAMS, before = (i + STREAMS - 1) % STREAMS;
        void *parameters[] = {&data, &factors[i % 2], &n};
        CHECK(cuStreamWaitEvent(streams[here], events[before], 0));
        CHECK(cuLaunchKernel(scale, 1, 1, 1, 1, 1, 1, 0, streams[here], parameters, NULL));
        CHECK(cuEventRecord(events[here], streams[here]));
    }
    CHECK(cuCtxSynchronize());
    CHECK(cuMemcpyDtoH_v2(&value, data, sizeof value));
    TRUE(value == 1);
}

int main(int argc, char **argv)
{
    CUcontext context = begin(argc, argv);
    CUmodule module;
    void *memory;
    CHECK(cuMemHostAlloc(&memory, sizeof *flag, 0));
    flag = memory;
    gate = load(&module, "wait_for_flag");
    one_stream();
    other_streams();
    legacy_stream();
    thread_stream();
    implicit_waits();
    two_in_one_stream(context);
    host_functions();
    chain();
    CHECK(cuCtxDestroy_v2(context));
    return 0;
}
