#ifndef GPUPOOL_WORKER_CUDA_BACKEND_H
#define GPUPOOL_WORKER_CUDA_BACKEND_H

#include "worker/backend.h"

extern const struct backend cuda_backend;

#endif
