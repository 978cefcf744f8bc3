#ifndef GPUPOOL_WORKER_CUDA_DISPATCH_H
#define GPUPOOL_WORKER_CUDA_DISPATCH_H

#include "worker/api.h"

extern const struct api cuda_api;

#endif
