/* Functions of modules, and kernels of libraries. */
#ifndef GPUPOOL_RUNTIME_CUDA_FUNCTION_H
#define GPUPOOL_RUNTIME_CUDA_FUNCTION_H

#include "runtime/cuda/call.h"

/* Its module may be unloaded by another thread at any time: the handle table has one reference, each call that uses
 * the function another. */
struct function {
    struct item item;
    atomic_uint references;
    uint64_t module;
    char *name;
    bool layout_known;
    uint32_t parameter_count, parameter_bytes;
    struct { uint16_t offset, bytes; } parameters[]; /* where the device wants them */
};

#define NAME_LIMIT 4000 /* bytes of a function's or global's name */

/* Resolve a function and take a reference to it, for function_release. */
CUresult call_function(struct call *call, const void *handle, uint64_t *number, struct function **function);
void function_release(struct function *function);
/* Free an item of any kind that was taken out of the handle table. */
void item_free(enum handle_kind kind, struct item *item);

#endif
