/* Everything made is unmade: by its own call, with its context, or not at all before the program ends. */
#include <dirent.h>
#include <string.h>

#include "check.h"

static void fill_context(void)
{
    CUmodule module;
    CUfunction function = load(&module, "scale");
    CUdeviceptr data, more;
    CUstream stream, other;
    CUevent event;
    void *pinned;
    float factor = 2;
    int n = 1000;
    void *parameters[] = {&data, &factor, &n};
    CHECK(cuMemAlloc_v2(&data, 4000));
    CHECK(cuMemAlloc_v2(&more, 4000));
    CHECK(cuMemHostAlloc(&pinned, 4000, 0));
    CHECK(cuStreamCreate(&stream, 0));
    CHECK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    CHECK(cuEventCreate(&event, 0));
    memset(pinned, 0, 4000);
    CHECK(cuMemcpyHtoDAsync_v2(data, pinned, 4000, stream));
    CHECK(cuLaunchKernel(function, 10, 1, 1, 100, 1, 1, 0, stream, parameters, NULL));
    CHECK(cuEventRecord(event, stream));
    CHECK(cuStreamWaitEvent(other, event, 0));
    CHECK(cuMemcpyDtoHAsync_v2(pinned, data, 4000, other));
    CHECK(cuMemsetD8Async(more, 1, 4000, CU_STREAM_PER_THREAD));
}

/* Open files and mapped images of this process. */
static int holdings(void)
{
    char line[4096];
    int number = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    DIR *files = opendir("/proc/self/fd");
    TRUE(maps && files);
    while (fgets(line, sizeof line, maps))
        number += strstr(line, "refcuda-image") != NULL;
    while (readdir(files))
        number++;
    fclose(maps);
    closedir(files);
    return number;
}

static void check_dead(CUcontext context)
{
    CUdeviceptr data;
    CHECK(cuCtxSetCurrent(NULL));
    EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuMemAlloc_v2(&data, 1));
    EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuCtxSetCurrent(context));
    EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuCtxDestroy_v2(context));
}

static void created(void)
{
    for (int i = 0; i < 5; i++) {
        CUcontext context;
        CHECK(cuCtxCreate_v2(&context, 0, 0));
        fill_context();
        CHECK(cuCtxDestroy_v2(context));
        check_dead(context);
    }
}

static void primary(void)
{
    CUcontext context, again;
    unsigned flags;
    int active;
    CHECK(cuDevicePrimaryCtxRetain(&context, 0));
    CHECK(cuDevicePrimaryCtxRetain(&again, 0));
    TRUE(context == again);
    CHECK(cuCtxSetCurrent(context));
    fill_context();
    EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuCtxDestroy_v2(context));
    CHECK(cuDevicePrimaryCtxRelease_v2(0));
    CHECK(cuDevicePrimaryCtxGetState(0, &flags, &active));
    TRUE(active);
    CHECK(cuDevicePrimaryCtxRelease_v2(0));
    CHECK(cuDevicePrimaryCtxGetState(0, &flags, &active));
    TRUE(!active);
    EXPECT(CUDA_ERROR_CONTEXT_IS_DESTROYED, cuCtxSynchronize());
    EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuDevicePrimaryCtxRelease_v2(0));
    check_dead(context);
}

/* One by one, in an order that leaves the others usable. */
static void single_calls(void)
{
    CUmodule module;
    CUfunction function = load(&module, "nothing");
    CUstream stream;
    CUevent event;
    CHECK(cuStreamCreate(&stream, 0));
    CHECK(cuEventCreate(&event, 0));
    for (int i = 0; i < 100; i++)
        CHECK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, NULL, NULL));
    CHECK(cuEventRecord(event, stream));
    CHECK(cuStreamDestroy_v2(stream));
    EXPECT(CUDA_ERROR_INVALID_HANDLE, cuStreamSynchronize(stream));
    CHECK(cuEventSynchronize(event));
    CHECK(cuEventDestroy_v2(event));
    EXPECT(CUDA_ERROR_INVALID_HANDLE, cuEventDestroy_v2(event));
    CHECK(cuModuleUnload(module));
    EXPECT(CUDA_ERROR_INVALID_HANDLE, cuModuleUnload(module));
    EXPECT(CUDA_ERROR_INVALID_HANDLE, cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, 0, NULL, NULL));
}

/* Two loads of one image do not share variables; a third, after an unload, finds nothing of the first. */
static void private_copies(void)
{
    CUmodule first, second, third;
    CUfunction add = load(&first, "add_to_counter");
    CUdeviceptr address[3];
    int values[3], number = 7;
    void *parameters[] = {&number};
    load(&second, "nothing");
    CHECK(cuLaunchKernel(add, 2, 1, 1, 1, 1, 1, 0, 0, parameters, NULL));
    CHECK(cuModuleGetGlobal_v2(&address[0], NULL, first, "counter"));
    CHECK(cuModuleGetGlobal_v2(&address[1], NULL, second, "counter"));
    CHECK(cuMemcpyDtoH_v2(&values[0], address[0], sizeof values[0]));
    CHECK(cuMemcpyDtoH_v2(&values[1], address[1], sizeof values[1]));
    CHECK(cuModuleUnload(first));
    EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH_v2(&values[0], address[0], sizeof values[0]));
    load(&third, "nothing");
    CHECK(cuModuleGetGlobal_v2(&address[2], NULL, third, "counter"));
    CHECK(cuMemcpyDtoH_v2(&values[2], address[2], sizeof values[2]));
    TRUE(values[0] == 14 && values[1] == 0 && values[2] == 0);
    CHECK(cuModuleUnload(second));
}

static void libraries(void)
{
    CUlibrary library;
    CUkernel kernel;
    CUfunction function, again;
    CUcontext context;
    int number = 1;
    void *parameters[] = {&number};
    CHECK(cuLibraryLoadFromFile(&library, image_path, NULL, NULL, 0, NULL, NULL, 0));
    CHECK(cuLibraryGetKernel(&kernel, library, "add_to_counter"));
    CHECK(cuKernelGetFunction(&function, kernel));
    CHECK(cuLaunchKernel((CUfunction)kernel, 1, 1, 1, 1, 1, 1, 0, 0, parameters, NULL));
    CHECK(cuCtxCreate_v2(&context, 0, 0));
    CHECK(cuKernelGetFunction(&again, kernel));
    TRUE(again != function);
    CHECK(cuCtxDestroy_v2(context));
    CHECK(cuKernelGetFunction(&again, kernel));
    TRUE(again == function);
    CHECK(cuLibraryUnload(library));
    EXPECT(CUDA_ERROR_INVALID_HANDLE, cuKernelGetFunction(&again, kernel));
    EXPECT(CUDA_ERROR_INVALID_HANDLE, cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, 0, parameters, NULL));
}

int main(int argc, char **argv)
{
    CUcontext context = begin(argc, argv);
    int before = holdings();
    single_calls();
    private_copies();
    libraries();
    created();
    CHECK(cuCtxSetCurrent(context));
    CHECK(cuCtxDestroy_v2(context));
    primary();
    TRUE(holdings() == before);
    /* What follows is left to the end of the process. */
    CHECK(cuCtxCreate_v2(&context, 0, 0));
    fill_context();
    return 0;
}
