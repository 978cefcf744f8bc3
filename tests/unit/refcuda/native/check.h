/* What every C test of the reference device uses. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>

#include "refcuda/api.h"

#define EXPECT(wanted, call)                                                                                      \
    do {                                                                                                          \
        CUresult got_ = (call);                                                                                   \
        if (got_ != (wanted)) {                                                                                   \
            fprintf(stderr, "%s:%d: %s is %d, wanted %d\n", __FILE__, __LINE__, #call, got_, wanted);             \
            exit(1);                                                                                              \
        }                                                                                                         \
    } while (0)

#define CHECK(call) EXPECT(CUDA_SUCCESS, call)

#define TRUE(condition)                                                                                           \
    do {                                                                                                          \
        if (!(condition)) {                                                                                       \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                               \
            exit(1);                                                                                              \
        }                                                                                                         \
    } while (0)

/* The image every test is given as its first argument. */
static const char *image_path;

static inline CUfunction load(CUmodule *module, const char *name)
{
    CUfunction function;
    CHECK(cuModuleLoad(module, image_path));
    CHECK(cuModuleGetFunction(&function, *module, name));
    return function;
}

static inline CUcontext begin(int argc, char **argv)
{
    CUcontext context;
    TRUE(argc == 2);
    image_path = argv[1];
    CHECK(cuInit(0));
    CHECK(cuCtxCreate_v2(&context, 0, 0));
    return context;
}

#endif
