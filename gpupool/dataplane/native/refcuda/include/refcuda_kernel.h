/*
 * Kernels for the reference device, a simulation of an accelerator on the CPU.
 *
 * A kernel is written much like one for a GPU and compiled into a shared object, the module image:
 *
 *     #include "refcuda_kernel.h"
 *
 *     REFCUDA_KERNEL(scale, (float *, data), (float, factor), (int, n))
 *     {
 *         REFCUDA_THREADS {
 *             int i = block->blockIdx.x * block->blockDim.x + threadIdx.x;
 *             if (i < n)
 *                 data[i] *= factor;
 *         }
 *     }
 *
 *     gcc -O2 -shared -fPIC -I<this folder> scale.c -o scale.so
 *
 * cuModuleLoadData takes the bytes of scale.so, cuModuleLoad its path. Every load is a private copy, with its own
 * REFCUDA_GLOBAL variables.
 *
 * How it runs: the body runs once per block, on one of the device's compute units; several blocks run at the same
 * time. REFCUDA_THREADS is a loop over the threads of the block. What is written before or between such loops is done
 * once per block. The end of a REFCUDA_THREADS loop is a barrier for the block (__syncthreads): split the loop where a
 * barrier is needed. What the threads of a block share is a local variable of the body (on a stack of at least 1 MiB),
 * or block->shared, whose size is the launch's sharedMemBytes. Neither is zeroed.
 *
 * Parameters: at most 16, each (type, name); in the order and with the alignment of a C struct, as CUDA passes them.
 * Pointers are device addresses, or addresses of pinned host memory. A bad one may end the process.
 */
#ifndef REFCUDA_KERNEL_H
#define REFCUDA_KERNEL_H

#include <stddef.h>

/* Changes when anything below changes its layout; an image of another version is refused. */
#define REFCUDA_IMAGE_VERSION 1

struct refcuda_dim3 {
    unsigned int x, y, z;
};

struct refcuda_block {
    struct refcuda_dim3 gridDim, blockDim, blockIdx;
    void *shared; /* aligned to 64 bytes */
    size_t shared_bytes;
};

struct refcuda_parameter {
    size_t offset, size; /* bytes */
};

struct refcuda_kernel {
    const char *name;
    void (*run)(const struct refcuda_block *block, const void *arguments);
    const struct refcuda_parameter *parameters;
    size_t parameter_count;
    size_t arguments_size; /* bytes, with the struct's trailing padding */
};

struct refcuda_global {
    const char *name;
    void *address;
    size_t size; /* bytes */
};

/* What a module image is found by: its symbol refcuda_image. */
struct refcuda_image {
    unsigned int version;
    const struct refcuda_kernel *const *kernels, *const *kernels_end;
    const struct refcuda_global *const *globals, *const *globals_end;
};

#ifndef REFCUDA_NO_IMAGE

/* The linker makes these bounds for a section whose name is an identifier. */
#define REFCUDA_BOUND extern __attribute__((weak, visibility("hidden")))
REFCUDA_BOUND const struct refcuda_kernel *const __start_refcuda_kernels[];
REFCUDA_BOUND const struct refcuda_kernel *const __stop_refcuda_kernels[];
REFCUDA_BOUND const struct refcuda_global *const __start_refcuda_globals[];
REFCUDA_BOUND const struct refcuda_global *const __stop_refcuda_globals[];

/* Weak: an image may be linked from several files. */
__attribute__((weak, visibility("default"))) const struct refcuda_image refcuda_image = {
    REFCUDA_IMAGE_VERSION,
    __start_refcuda_kernels, __stop_refcuda_kernels,
    __start_refcuda_globals, __stop_refcuda_globals,
};

#define REFCUDA_KERNEL(name, ...)                                                                                  \
    struct name##_arguments {                                                                                      \
        REFCUDA_EACH(REFCUDA_FIELD, name __VA_OPT__(, ) __VA_ARGS__)                                               \
    };                                                                                                             \
    static const struct refcuda_parameter name##_parameters[] = {                                                  \
        REFCUDA_EACH(REFCUDA_PLACE, name __VA_OPT__(, ) __VA_ARGS__){0, 0}};                                       \
    static inline void name##_body(                                                                                \
        const struct refcuda_block *block REFCUDA_EACH(REFCUDA_FORMAL, name __VA_OPT__(, ) __VA_ARGS__));          \
    static void name##_run(const struct refcuda_block *block, const void *arguments)                               \
    {                                                                                                              \
        const struct name##_arguments *given = (const struct name##_arguments *)arguments;                         \
        (void)given;                                                                                               \
        name##_body(block REFCUDA_EACH(REFCUDA_ACTUAL, name __VA_OPT__(, ) __VA_ARGS__));                          \
    }                                                                                                              \
    static const struct refcuda_kernel name##_kernel = {                                                           \
        #name, name##_run, name##_parameters, sizeof name##_parameters / sizeof name##_parameters[0] - 1,          \
        sizeof(struct name##_arguments)};                                                                          \
    REFCUDA_LISTED(refcuda_kernels) static const struct refcuda_kernel *const name##_listed = &name##_kernel;      \
    static inline void name##_body(const struct refcuda_block *block __attribute__((unused)) REFCUDA_EACH(         \
        REFCUDA_FORMAL, name __VA_OPT__(, ) __VA_ARGS__))

/* A variable cuModuleGetGlobal finds: REFCUDA_GLOBAL(float, table[16]) is written REFCUDA_GLOBAL(float, table, [16]). */
#define REFCUDA_GLOBAL(type, name, ...)                                                                            \
    static type name __VA_ARGS__;                                                                                  \
    static const struct refcuda_global name##_global = {#name, (void *)&name, sizeof name};                        \
    REFCUDA_LISTED(refcuda_globals) static const struct refcuda_global *const name##_listed = &name##_global

/* The threads of the block, one after the other; no break out of it. */
#define REFCUDA_THREADS                                                                                            \
    for (struct refcuda_dim3 threadIdx = {0, 0, 0}; threadIdx.z < block->blockDim.z; threadIdx.z++)                \
        for (threadIdx.y = 0; threadIdx.y < block->blockDim.y; threadIdx.y++)                                      \
            for (threadIdx.x = 0; threadIdx.x < block->blockDim.x; threadIdx.x++)

/* From here on: what the macros above are made of. */
#define REFCUDA_LISTED(section_name) __attribute__((used, section(#section_name)))

#define REFCUDA_TYPE(type, name) type
#define REFCUDA_NAME(type, name) name
#define REFCUDA_FIELD(kernel, parameter) REFCUDA_TYPE parameter REFCUDA_NAME parameter;
#define REFCUDA_PLACE(kernel, parameter)                                                                           \
    {offsetof(struct kernel##_arguments, REFCUDA_NAME parameter),                                                  \
     sizeof(((struct kernel##_arguments *)0)->REFCUDA_NAME parameter)},
#define REFCUDA_FORMAL(kernel, parameter) , REFCUDA_TYPE parameter REFCUDA_NAME parameter
#define REFCUDA_ACTUAL(kernel, parameter) , given->REFCUDA_NAME parameter

#define REFCUDA_EACH(do, ...)                                                                                      \
    REFCUDA_PICK(__VA_ARGS__, REFCUDA_16, REFCUDA_15, REFCUDA_14, REFCUDA_13, REFCUDA_12, REFCUDA_11, REFCUDA_10,  \
                 REFCUDA_9, REFCUDA_8, REFCUDA_7, REFCUDA_6, REFCUDA_5, REFCUDA_4, REFCUDA_3, REFCUDA_2,           \
                 REFCUDA_1, REFCUDA_0, none)(do, __VA_ARGS__)
#define REFCUDA_PICK(kernel, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, picked, ...) picked
#define REFCUDA_0(do, kernel)
#define REFCUDA_1(do, kernel, p) do(kernel, p)
#define REFCUDA_2(do, kernel, p, ...) do(kernel, p) REFCUDA_1(do, kernel, __VA_ARGS__)
#define REFCUDA_3(do, kernel, p, ...) do(kernel, p) REFCUDA_2(do, kernel, __VA_ARGS__)
#define REFCUDA_4(do, kernel, p, ...) do(kernel, p) REFCUDA_3(do, kernel, __VA_ARGS__)
#define REFCUDA_5(do, kernel, p, ...) do(kernel, p) REFCUDA_4(do, kernel, __VA_ARGS__)
#define REFCUDA_6(do, kernel, p, ...) do(kernel, p) REFCUDA_5(do, kernel, __VA_ARGS__)
#define REFCUDA_7(do, kernel, p, ...) do(kernel, p) REFCUDA_6(do, kernel, __VA_ARGS__)
#define REFCUDA_8(do, kernel, p, ...) do(kernel, p) REFCUDA_7(do, kernel, __VA_ARGS__)
#define REFCUDA_9(do, kernel, p, ...) do(kernel, p) REFCUDA_8(do, kernel, __VA_ARGS__)
#define REFCUDA_10(do, kernel, p, ...) do(kernel, p) REFCUDA_9(do, kernel, __VA_ARGS__)
#define REFCUDA_11(do, kernel, p, ...) do(kernel, p) REFCUDA_10(do, kernel, __VA_ARGS__)
#define REFCUDA_12(do, kernel, p, ...) do(kernel, p) REFCUDA_11(do, kernel, __VA_ARGS__)
#define REFCUDA_13(do, kernel, p, ...) do(kernel, p) REFCUDA_12(do, kernel, __VA_ARGS__)
#define REFCUDA_14(do, kernel, p, ...) do(kernel, p) REFCUDA_13(do, kernel, __VA_ARGS__)
#define REFCUDA_15(do, kernel, p, ...) do(kernel, p) REFCUDA_14(do, kernel, __VA_ARGS__)
#define REFCUDA_16(do, kernel, p, ...) do(kernel, p) REFCUDA_15(do, kernel, __VA_ARGS__)

#endif
#endif
