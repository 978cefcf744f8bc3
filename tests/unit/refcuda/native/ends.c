/* One thread ends what the others use: modules, libraries, contexts, streams, events. A call may be refused, for what
 * it names is gone; it may not touch what is freed. Afterwards all is as if nothing had been. Also built with the
 * runtime's sources, which have the same functions. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "check.h"

enum { USERS = 3, ROUNDS = 400 };

static CUcontext home;
static atomic_bool over;
static _Atomic(CUmodule) module;
static _Atomic(CUlibrary) library;
static _Atomic(CUcontext) context;
static _Atomic(CUstream) stream;
static _Atomic(CUevent) event;

/* What a call may answer when what it names ends meanwhile, or when it tells of an earlier one-way call. */
static void tolerate(CUresult result, int line)
{
    static const CUresult allowed[] = {
        CUDA_SUCCESS, CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_INVALID_CONTEXT, CUDA_ERROR_INVALID_HANDLE,
        CUDA_ERROR_CONTEXT_IS_DESTROYED, CUDA_ERROR_NOT_READY,
    };
    for (size_t index = 0; index < sizeof allowed / sizeof *allowed; index++)
        if (result == allowed[index])
            return;
    fprintf(stderr, "line %d: %d\n", line, result);
    exit(1);
}
#define MAY(call) tolerate((call), __LINE__)

static void use_function(CUfunction function)
{
    const char *name = NULL;
    CUmodule owner;
    size_t offset, size;
    int value;
    if (cuFuncGetName(&name, function) == CUDA_SUCCESS)
        TRUE(name);
    MAY(cuFuncGetModule(&owner, function));
    MAY(cuFuncGetParamInfo(function, 0, &offset, &size));
    MAY(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, function));
    MAY(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
}

static void use_modules(void)
{
    CUfunction function;
    CUkernel kernel;
    CUdeviceptr address;
    size_t size;
    CUresult result = cuModuleGetFunction(&function, module, "nothing");
    MAY(result);
    if (result == CUDA_SUCCESS)
        use_function(function);
    MAY(cuModuleGetGlobal_v2(&address, &size, module, "counter"));
    result = cuLibraryGetKernel(&kernel, library, "nothing");
    MAY(result);
    if (result == CUDA_SUCCESS)
        use_function((CUfunction)kernel);
}

static void use_streams(void)
{
    CUcontext owner;
    unsigned flags;
    int priority;
    MAY(cuStreamGetFlags(stream, &flags));
    MAY(cuStreamGetPriority(stream, &priority));
    MAY(cuStreamGetCtx(stream, &owner));
    MAY(cuEventRecord(event, stream));
    MAY(cuStreamWaitEvent(stream, event, 0));
    MAY(cuStreamQuery(stream));
    MAY(cuEventQuery(event));
    MAY(cuStreamSynchronize(stream));
    MAY(cuEventSynchronize(event));
}

/* Makes one of everything in a context that ends meanwhile; what is left ends with it. */
static void use_context(void)
{
    CUstream made;
    CUevent marked;
    CUmodule loaded;
    CUfunction function;
    CUdeviceptr address;
    unsigned flags;
    if (cuCtxSetCurrent(context) != CUDA_SUCCESS)
        return;
    MAY(cuCtxGetFlags(&flags));
    if (cuStreamCreate(&made, 0) == CUDA_SUCCESS)
        MAY(cuStreamQuery(made));
    if (cuEventCreate(&marked, 0) == CUDA_SUCCESS)
        MAY(cuEventRecord(marked, CU_STREAM_PER_THREAD));
    if (cuMemAlloc_v2(&address, 5000) == CUDA_SUCCESS)
        MAY(cuMemsetD8Async(address, 1, 5000, NULL));
    if (cuModuleLoad(&loaded, image_path) == CUDA_SUCCESS &&
        cuModuleGetFunction(&function, loaded, "nothing") == CUDA_SUCCESS)
        use_function(function);
    MAY(cuCtxSynchronize());
}

static void *use(void *unused)
{
    const struct timespec pause = {.tv_nsec = 100000};
    (void)unused;
    while (!over) {
        nanosleep(&pause, NULL); /* locks are not fair: the thread that ends things is to get them */
        CHECK(cuCtxSetCurrent(home));
        use_modules();
        use_streams();
        use_context();
    }
    return NULL;
}

/* Ends all there is and makes it anew. */
static void renew(int round)
{
    CUmodule new_module;
    CUlibrary new_library;
    CUcontext new_context;
    CUstream new_stream;
    CUevent new_event;
    MAY(cuModuleUnload(module));
    MAY(cuLibraryUnload(library));
    MAY(cuStreamDestroy_v2(stream));
    MAY(cuEventDestroy_v2(event));
    if (round % 2)
        MAY(cuCtxDestroy_v2(context));
    if (cuModuleLoad(&new_module, image_path) == CUDA_SUCCESS)
        module = new_module;
    if (cuLibraryLoadFromFile(&new_library, image_path, NULL, NULL, 0, NULL, NULL, 0) == CUDA_SUCCESS)
        library = new_library;
    if (cuStreamCreate(&new_stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS)
        stream = new_stream;
    if (cuEventCreate(&new_event, 0) == CUDA_SUCCESS)
        event = new_event;
    if (round % 2 && cuCtxCreate_v2(&new_context, 0, 0) == CUDA_SUCCESS) {
        context = new_context;
        CHECK(cuCtxPopCurrent_v2(NULL));
    }
}

/* All handles work, whatever was given out before. */
static void check_working(void)
{
    enum { MANY = 300 };
    static CUevent events[MANY];
    CUmodule loaded;
    CUstream made;
    while (cuCtxSynchronize() != CUDA_SUCCESS)
        continue;
    CUfunction function = load(&loaded, "nothing");
    CHECK(cuStreamCreate(&made, 0));
    CHECK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, made, NULL, NULL));
    for (int i = 0; i < MANY; i++) {
        CHECK(cuEventCreate(&events[i], 0));
        CHECK(cuEventRecord(events[i], made));
    }
    for (int i = 0; i < MANY; i++) {
        CHECK(cuEventSynchronize(events[i]));
        CHECK(cuEventDestroy_v2(events[i]));
    }
    CHECK(cuStreamDestroy_v2(made));
    CHECK(cuModuleUnload(loaded));
    CHECK(cuCtxSynchronize());
}

int main(int argc, char **argv)
{
    pthread_t users[USERS];
    size_t before, after, total;
    home = begin(argc, argv);
    CHECK(cuMemGetInfo_v2(&before, &total));
    for (int i = 0; i < USERS; i++)
        TRUE(!pthread_create(&users[i], NULL, use, NULL));
    for (int round = 0; round < ROUNDS; round++)
        renew(round);
    over = true;
    for (int i = 0; i < USERS; i++)
        pthread_join(users[i], NULL);
    MAY(cuModuleUnload(module));
    MAY(cuLibraryUnload(library));
    MAY(cuCtxDestroy_v2(context));
    CHECK(cuCtxSetCurrent(home));
    check_working();
    CHECK(cuMemGetInfo_v2(&after, &total));
    TRUE(before == after);
    CHECK(cuCtxDestroy_v2(home));
    return 0;
}
