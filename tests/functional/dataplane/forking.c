/* Uses device 0, forks, and uses it in both: prints a line for each; exits with 1 when one can't. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cuda/cuda_abi.h"

static void *library;

static int call(const char *name, CUresult result)
{
    if (result != CUDA_SUCCESS)
        fprintf(stderr, "%s: %d\n", name, (int)result);
    return result == CUDA_SUCCESS;
}

static void find(const char *name, void *function)
{
    void *found = dlsym(library, name);
    memcpy(function, &found, sizeof found);
}

static int use(void)
{
    CUresult (*init)(unsigned), (*retain)(CUcontext *, CUdevice), (*set_current)(CUcontext);
    CUresult (*allocate)(CUdeviceptr *, size_t), (*fill)(CUdeviceptr, unsigned char, size_t);
    CUresult (*to_host)(void *, CUdeviceptr, size_t);
    CUcontext context;
    CUdeviceptr memory;
    char back[1024] = "", expected[sizeof back];
    find("cuInit", &init);
    find("cuDevicePrimaryCtxRetain", &retain);
    find("cuCtxSetCurrent", &set_current);
    find("cuMemAlloc_v2", &allocate);
    find("cuMemsetD8_v2", &fill);
    find("cuMemcpyDtoH_v2", &to_host);
    memset(expected, 7, sizeof expected);
    return call("cuInit", init(0)) && call("cuDevicePrimaryCtxRetain", retain(&context, 0)) &&
           call("cuCtxSetCurrent", set_current(context)) && call("cuMemAlloc", allocate(&memory, sizeof back)) &&
           call("cuMemsetD8", fill(memory, 7, sizeof back)) &&
           call("cuMemcpyDtoH", to_host(back, memory, sizeof back)) && !memcmp(back, expected, sizeof back);
}

int main(void)
{
    int status = 0;
    library = dlopen("libcuda.so.1", RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    if (!use())
        return 1;
    pid_t child = fork();
    if (child == 0)
        _exit(!use());
    if (child < 0 || waitpid(child, &status, 0) != child || status || !use())
        return 1;
    puts("used");
    return 0;
}
