/* A CUDA program: program SECONDS. Writes and reads back memory of its first device all that time.
 * Ends with 0, 1 when the device or something of it is not to be had, 2 when it read what it did not write. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 1 << 20 };
static void *library;

static void *named(const char *name) {
    void *found = dlsym(library, name);
    if (!found) exit(1);
    return found;
}

#define CALL(name, types, ...) \
    do { \
        int error = ((int(*) types)named(#name))(__VA_ARGS__); \
        if (error) { printf(#name ": error %d\n", error); return 1; } \
    } while (0)

int main(int count, char **arguments) {
    static unsigned char out[SIZE], in[SIZE];
    unsigned long long memory = 0;
    void *context = NULL;
    int device = 0;
    time_t left = count > 1 ? atoi(arguments[1]) : 1;
    struct timespec begun, now;
    library = dlopen("libcuda.so.1", RTLD_NOW);
    if (!library) return 1;
    CALL(cuInit, (unsigned), 0);
    CALL(cuDeviceGet, (int *, int), &device, 0);
    CALL(cuDevicePrimaryCtxRetain, (void **, int), &context, device);
    CALL(cuCtxSetCurrent, (void *), context);
    CALL(cuMemAlloc_v2, (unsigned long long *, size_t), &memory, SIZE);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    do {
        memset(out, rand(), SIZE);
        CALL(cuMemcpyHtoD_v2, (unsigned long long, const void *, size_t), memory, out, SIZE);
        CALL(cuMemcpyDtoH_v2, (void *, unsigned long long, size_t), in, memory, SIZE);
        if (memcmp(in, out, SIZE)) return 2;
        usleep(100000);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec - begun.tv_sec < left);
    return 0;
}
