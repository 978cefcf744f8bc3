/* Modules and their functions: an image loaded into one context. */
#ifndef REFCUDA_MODULE_H
#define REFCUDA_MODULE_H

#include "refcuda/context.h"
#include "refcuda/image.h"

struct module {
    struct object object;
    struct image image;
    CUfunction *functions; /* handles, in the order of image.kernels */
};

struct function {
    struct object object;
    struct module *module; /* counted */
    const struct refcuda_kernel *kernel;
    atomic_int dynamic_shared; /* bytes, the most a launch may ask for */
    atomic_int carveout;
};

/* Loads an image of `size` bytes into the context and publishes it with its functions. */
CUresult module_new(struct context *context, const void *bytes, size_t size, CUmodule *handle, struct reason *why);

/* Takes the handle and those of the functions away. False when there was none. */
bool module_unload(CUmodule handle);

/* NOT_FOUND when the module has none of this name. */
CUresult module_function(const struct module *module, const char *name, CUfunction *handle);
CUresult module_global(const struct module *module, const char *name, CUdeviceptr *address, size_t *size);

/* The function of a handle, counted; a kernel's handle stands for its function in the current context. */
CUresult function_acquire(CUfunction handle, struct function **function);

/* Where a parameter lies among the arguments, in bytes. INVALID_VALUE beyond the last one. */
CUresult kernel_parameter(const struct refcuda_kernel *kernel, size_t index, size_t *offset, size_t *size);

/* Writes why into the program's error log buffer, when its options name one. */
void jit_log(unsigned int number, const CUjit_option *options, void *const *values, const struct reason *why);

/* Reads a file whole; *bytes is to be given to munmap. FILE_NOT_FOUND or INVALID_IMAGE. */
CUresult file_map(const char *path, void **bytes, size_t *size, struct reason *why);

#endif
