/* The device memory that a module takes: its code, constants and globals. */
#ifndef GPUPOOL_WORKER_IMAGE_MEMORY_H
#define GPUPOOL_WORKER_IMAGE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that a loaded image takes, as an ELF file says them (System V ABI; a cubin is one, too); 0 for
 * images that do not say: PTX and fat binaries. image_size() must have found the image sound. */
uint64_t image_memory(const void *image);

#endif
