/* The driver interface from threads with small stacks: small_stack KERNELS STACK_KIB. Each step runs in a thread of its
 * own and says in its result what went wrong; a stack that does not suffice ends the process. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cuda/cuda_abi.h"

#define LARGE (3u << 20) /* bytes: more than one piece of staging or bounce memory */

static CUresult (*init)(unsigned), (*retain)(CUcontext *, CUdevice), (*set_current)(CUcontext), (*synchronize)(void);
static CUresult (*load)(CUmodule *, const char *), (*load_data)(CUmodule *, const void *), (*unload)(CUmodule);
static CUresult (*get_function)(CUfunction *, CUmodule, const char *), (*get_name)(const char **, CUfunction);
static CUresult (*get_global)(CUdeviceptr *, size_t *, CUmodule, const char *), (*get_count)(int *);
static CUresult (*allocate)(CUdeviceptr *, size_t), (*release)(CUdeviceptr), (*host_allocate)(void **, size_t);
static CUresult (*host_release)(void *), (*to_device)(CUdeviceptr, const void *, size_t);
static CUresult (*to_host)(void *, CUdeviceptr, size_t), (*on_device)(CUdeviceptr, CUdeviceptr, size_t);
static CUresult (*between)(CUdeviceptr, CUcontext, CUdeviceptr, CUcontext, size_t);
static CUresult (*fill)(CUdeviceptr, unsigned, size_t), (*launch_ex)(const CUlaunchConfig *, CUfunction, void **, void **);
static CUresult (*launch)(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream,
                          void **, void **);
static CUresult (*stream_create)(CUstream *, unsigned), (*stream_destroy)(CUstream), (*event_create)(CUevent *, unsigned);
static CUresult (*event_record)(CUevent, CUstream), (*event_synchronize)(CUevent), (*event_destroy)(CUevent);

static const struct {
    void *function;
    const char *name;
} names[] = {
    {&init, "cuInit"}, {&retain, "cuDevicePrimaryCtxRetain"}, {&set_current, "cuCtxSetCurrent"},
    {&synchronize, "cuCtxSynchronize"}, {&load, "cuModuleLoad"}, {&load_data, "cuModuleLoadData"},
    {&unload, "cuModuleUnload"}, {&get_function, "cuModuleGetFunction"}, {&get_name, "cuFuncGetName"},
    {&get_global, "cuModuleGetGlobal_v2"}, {&get_count, "cuDeviceGetCount"}, {&allocate, "cuMemAlloc_v2"},
    {&release, "cuMemFree_v2"}, {&host_allocate, "cuMemAllocHost_v2"}, {&host_release, "cuMemFreeHost"},
    {&to_device, "cuMemcpyHtoD_v2"}, {&to_host, "cuMemcpyDtoH_v2"}, {&on_device, "cuMemcpyDtoD_v2"},
    {&between, "cuMemcpyPeer"}, {&fill, "cuMemsetD32_v2"}, {&launch, "cuLaunchKernel"},
    {&launch_ex, "cuLaunchKernelEx"}, {&stream_create, "cuStreamCreate"}, {&stream_destroy, "cuStreamDestroy_v2"},
    {&event_create, "cuEventCreate"}, {&event_record, "cuEventRecord"}, {&event_synchronize, "cuEventSynchronize"},
    {&event_destroy, "cuEventDestroy_v2"},
};

static const char *kernels;
static CUcontext contexts[2];
static CUmodule module;
static CUfunction add;
static CUdeviceptr numbers[2];
static unsigned char *bytes;

#define TRY(expression)                                    \
    do {                                                   \
        CUresult tried = (expression);                     \
        if (tried != CUDA_SUCCESS)                         \
            return 10000 * __LINE__ + (int)tried;          \
    } while (0)
#define MUST(condition)                                    \
    do {                                                   \
        if (!(condition))                                  \
            return 10000 * __LINE__;                       \
    } while (0)

static int open_sessions(void)
{
    int count = 0;
    TRY(init(0));
    TRY(get_count(&count));
    MUST(count == 2);
    TRY(retain(&contexts[0], 0));
    TRY(retain(&contexts[1], 1));
    return 0;
}

static int load_modules(void)
{
    CUmodule other;
    CUdeviceptr counter;
    size_t size;
    const char *name;
    TRY(set_current(contexts[0]));
    TRY(load(&module, kernels));
    TRY(load(&other, kernels));
    TRY(unload(other));
    TRY(get_function(&add, module, "add"));
    TRY(get_name(&name, add));
    MUST(strcmp(name, "add") == 0);
    TRY(get_global(&counter, &size, module, "counter"));
    return 0;
}

static int allocations(void)
{
    void *pinned;
    for (int device = 2; device-- > 0;) {
        TRY(set_current(contexts[device]));
        TRY(allocate(&numbers[device], LARGE));
        TRY(fill(numbers[device], 0, LARGE / 4));
    }
    TRY(host_allocate(&pinned, 100000));
    TRY(to_host(pinned, numbers[0], 100000));
    TRY(host_release(pinned));
    return 0;
}

static int launches(void)
{
    struct { CUdeviceptr data; int value, count; } packed = {numbers[0], 1, 100};
    size_t size = sizeof packed;
    void *parameters[] = {&packed.data, &packed.value, &packed.count};
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &size, CU_LAUNCH_PARAM_END};
    CUlaunchAttribute hint = {.id = CU_LAUNCH_ATTRIBUTE_PRIORITY};
    CUlaunchConfig config = {1, 1, 1, 128, 1, 1, 0, NULL, &hint, 1};
    int seen[100];
    TRY(set_current(contexts[0]));
    TRY(launch(add, 1, 1, 1, 128, 1, 1, 0, NULL, parameters, NULL));
    TRY(launch(add, 1, 1, 1, 128, 1, 1, 0, NULL, NULL, extra));
    TRY(launch_ex(&config, add, parameters, NULL));
    TRY(to_host(seen, numbers[0], sizeof seen));
    MUST(seen[0] == 3 && seen[99] == 3);
    return 0;
}

static int copies(void)
{
    TRY(set_current(contexts[0]));
    memset(bytes, 7, LARGE);
    TRY(to_device(numbers[0], bytes, 100));
    TRY(to_device(numbers[0], bytes, LARGE));
    TRY(on_device(numbers[0] + LARGE / 2, numbers[0], 1000));
    TRY(between(numbers[1], contexts[1], numbers[0], contexts[0], LARGE));
    memset(bytes, 0, LARGE);
    TRY(to_host(bytes, numbers[1], LARGE));
    MUST(bytes[0] == 7 && bytes[LARGE - 1] == 7);
    return 0;
}

static int streams(void)
{
    CUstream stream;
    CUevent event;
    TRY(set_current(contexts[0]));
    TRY(stream_create(&stream, 1));
    TRY(event_create(&event, 0));
    TRY(event_record(event, stream));
    TRY(event_synchronize(event));
    TRY(event_destroy(event));
    TRY(stream_destroy(stream));
    return 0;
}

static int refusals(void)
{
    void *one_missing[] = {&numbers[0], NULL, NULL}, *bad_extra[] = {&numbers, &numbers};
    CUlaunchAttribute unknown = {.id = 60};
    CUlaunchConfig config = {1, 1, 1, 1, 1, 1, 0, NULL, &unknown, 1};
    static const char no_image[4096] = "no image at all";
    CUfunction function;
    CUmodule other;
    CUdeviceptr more;
    TRY(set_current(contexts[0]));
    MUST(launch(add, 1, 1, 1, 1, 1, 1, 0, NULL, one_missing, NULL) != CUDA_SUCCESS);
    MUST(launch(add, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, bad_extra) != CUDA_SUCCESS);
    MUST(launch((CUfunction)module, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL) != CUDA_SUCCESS);
    MUST(launch_ex(&config, add, one_missing, NULL) != CUDA_SUCCESS);
    MUST(load(&other, "/no/such/file") != CUDA_SUCCESS);
    MUST(load_data(&other, no_image) != CUDA_SUCCESS);
    MUST(get_function(&function, module, "no_such_kernel") != CUDA_SUCCESS);
    MUST(allocate(&more, 1ull << 50) != CUDA_SUCCESS);
    MUST(to_host(bytes, 1, 100) != CUDA_SUCCESS);
    TRY(synchronize());
    return 0;
}

static int clear(void)
{
    TRY(set_current(contexts[0]));
    TRY(unload(module));
    TRY(release(numbers[0]));
    return 0;
}

struct step {
    int (*run)(void);
    int result;
};

static void *run(void *argument)
{
    struct step *step = argument;
    step->result = step->run();
    return NULL;
}

int main(int count, char **arguments)
{
    struct step steps[] = {{open_sessions, 0}, {load_modules, 0}, {allocations, 0}, {launches, 0},
                           {copies, 0}, {streams, 0}, {refusals, 0}, {clear, 0}};
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    if (count != 3 || !library)
        return 2;
    for (size_t index = 0; index < sizeof names / sizeof *names; index++) {
        void *found = dlsym(library, names[index].name);
        memcpy(names[index].function, &found, sizeof found);
    }
    kernels = arguments[1];
    bytes = malloc(LARGE);
    size_t size = (size_t)atoi(arguments[2]) * 1024, least = (size_t)sysconf(_SC_THREAD_STACK_MIN);
    for (size_t index = 0; index < sizeof steps / sizeof *steps; index++) {
        pthread_attr_t attributes;
        pthread_t thread;
        pthread_attr_init(&attributes);
        if (pthread_attr_setstacksize(&attributes, size < least ? least : size) ||
            pthread_create(&thread, &attributes, run, &steps[index]))
            return 3;
        pthread_join(thread, NULL);
        printf("%d ", steps[index].result);
    }
    printf("\n");
    return 0;
}
