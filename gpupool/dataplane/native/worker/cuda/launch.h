#ifndef GPUPOOL_WORKER_CUDA_LAUNCH_H
#define GPUPOOL_WORKER_CUDA_LAUNCH_H

#include "worker/backend.h"

/* See struct backend's `launch`; the function is a struct function of handles.h. */
enum result launch_function(struct device *device, void *function, const struct record *record,
                            struct stream *stream);

#endif
