/* How long a module image is: the interface passes a pointer only. */
#ifndef GPUPOOL_RUNTIME_IMAGE_H
#define GPUPOOL_RUNTIME_IMAGE_H

#include <stddef.h>

/* Bytes of the image at `image`, and where it starts (a wrapper points to it); 0 when it is of no kind
 * known here. Kinds: ELF (cubin, or a host object for the reference device), fat binary, PTX text. */
size_t image_size(const void *image, const void **start);

#endif
