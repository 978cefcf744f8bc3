/* A CUDA device, and what a session keeps of it. */
#ifndef GPUPOOL_WORKER_CUDA_DEVICE_H
#define GPUPOOL_WORKER_CUDA_DEVICE_H

#include "worker/backend.h"
#include "worker_driver.h"

#define LIMITS 3 /* stack, print queue and heap: CU_LIMIT_STACK_SIZE and the two after it */

/* The part of a module's image received so far; its room is charged to the vGPU's host memory. */
struct image {
    unsigned char *bytes;
    uint64_t size;
    uint64_t room;
};

struct device {
    struct driver driver;
    CUdevice number;
    CUcontext context;
    struct image image;
    uint64_t limit_bytes[LIMITS]; /* charged for what a limit was raised by */
};

#endif
