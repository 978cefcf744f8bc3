/* How long a module image is: the interface passes a pointer only. */
#ifndef GPUPOOL_WIRE_IMAGE_H
#define GPUPOOL_WIRE_IMAGE_H

#include <stddef.h>

/* Bytes of the image at `image`, and where it starts (a wrapper points to it); 0 when it is of no kind
 * known here or reaches beyond `limit` bytes. Kinds: ELF (cubin, or a host object for the reference
 * device), fat binary, PTX text that ends with a NUL. `limit` SIZE_MAX: as far as the image says; only
 * then may it be a wrapper, whose pointer means something in the program alone. */
size_t image_size(const void *image, size_t limit, const void **start);

#endif
