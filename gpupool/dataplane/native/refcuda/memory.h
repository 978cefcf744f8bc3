/*
 * What addresses mean: device memory, variables of modules, pinned host memory. Device addresses are addresses of this
 * process, so that kernels, which run here, use them as they are; each belongs to its device's arena.
 */
#ifndef REFCUDA_MEMORY_H
#define REFCUDA_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cuda/cuda_abi.h"

struct context;
struct device;

enum range_kind { RANGE_DEVICE, RANGE_VARIABLE, RANGE_PINNED, RANGE_REGISTERED };

struct range {
    uintptr_t base;
    size_t size;     /* bytes, as asked for */
    size_t reserved; /* bytes it is charged, at least size */
    enum range_kind kind;
    unsigned flags;       /* of pinned host memory */
    const void *owner;    /* the context, only to compare */
    CUcontext context;    /* its handle */
    struct device *device;
    uint64_t id; /* never used again in this process */
};

/* The range an address lies in; false when in none. */
bool memory_find(uintptr_t address, struct range *range);

/* Whether all of these bytes lie in one range of device memory or a module's variable. */
bool memory_is_device(uintptr_t address, size_t size);

/* Whether all of these bytes lie in one range of pinned host memory. */
bool memory_is_pinned(uintptr_t address, size_t size);

/* Whether all of these bytes are mapped and belong to no device. */
bool memory_is_host(uintptr_t address, size_t size);

/* Device memory, aligned to 512 bytes. OUT_OF_MEMORY beyond the device's size. */
CUresult memory_allocate(struct context *context, size_t size, CUdeviceptr *address);

/* Takes a range out: kind and base have to be exact. False when there is none. */
bool memory_remove(enum range_kind kind, uintptr_t base, struct range *removed);

/* Takes in a range that exists already: kind, base, size and flags are given. ALREADY_REGISTERED when it overlaps. */
CUresult memory_add(const struct context *context, const struct range *wanted);

/* Frees what a context has left. */
void memory_free_owned(const struct context *context);

/* Bytes of a device that are allocated. */
size_t memory_used(const struct device *device);

/* Gives back the host memory of a removed range; device memory went with its removal. */
void memory_release(const struct range *range);

#endif
