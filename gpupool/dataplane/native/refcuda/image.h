/* Module images: host ELF shared objects made with refcuda_kernel.h. */
#ifndef REFCUDA_IMAGE_H
#define REFCUDA_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "cuda/cuda_abi.h"
#define REFCUDA_NO_IMAGE
#include "refcuda/include/refcuda_kernel.h"

struct image {
    void *library; /* of dlopen: a private copy */
    int descriptor;
    const struct refcuda_kernel *const *kernels;
    size_t kernel_count;
    const struct refcuda_global *const *globals;
    size_t global_count;
};

struct reason {
    char text[256];
};

/* The size of an ELF file in bytes, by its own headers; 0, and why, when it is none for this machine. `limit` is how
 * many bytes there are, SIZE_MAX when only the headers know. */
size_t image_size(const void *bytes, size_t limit, struct reason *why);

/* INVALID_IMAGE and why when the bytes are no image of this device. */
CUresult image_open(const void *bytes, size_t size, struct image *image, struct reason *why);
void image_close(struct image *image);

/* NULL: the image has none of this name. */
const struct refcuda_kernel *image_kernel(const struct image *image, const char *name);

#endif
