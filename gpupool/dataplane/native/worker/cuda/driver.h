/* The device's own library. */
#ifndef GPUPOOL_WORKER_DRIVER_LIBRARY_H
#define GPUPOOL_WORKER_DRIVER_LIBRARY_H

#include <stdbool.h>

#include "worker_driver.h"

/* Open `path` and find its functions; returns the library, NULL with dlerror() set. A function that it
 * lacks answers CUDA_ERROR_NOT_SUPPORTED. */
void *driver_open(const char *path, struct driver *driver);

#endif
