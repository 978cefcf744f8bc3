/* The state of the library as a whole, and how a refusal is told. */
#ifndef REFCUDA_DRIVER_H
#define REFCUDA_DRIVER_H

#include <stdbool.h>

#include "cuda/cuda_abi.h"

/* Makes calls allowed, once `open` succeeds, which is called unless they are; not in a forked child. */
CUresult driver_start(CUresult (*open)(void));

/* SUCCESS when calls are allowed: after cuInit, not in a forked child, not in a host callback of a stream. */
CUresult driver_ready(void);

/* Marks the calling thread as running a host callback, in which the driver interface is not to be used. */
void driver_set_callback(bool inside);

/* Returns `result`; with REFCUDA_TRACE set also writes why to stderr. */
CUresult refuse(CUresult result, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One line to stderr when REFCUDA_TRACE is set. */
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Starts a detached thread that takes no signals; false when the system has none left. */
bool driver_start_thread(const char *name, void *(*run)(void *), void *argument);

#endif
