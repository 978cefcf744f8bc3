/* What CUDA and its tools say of a program's devices. */
#ifndef GPUPOOL_ATTACHMENT_CUDA_VISIBLE_H
#define GPUPOOL_ATTACHMENT_CUDA_VISIBLE_H

#include "attachment/list.h"

#define UUID_TEXT 41 /* bytes of "GPU-", a UUID and a NUL */

/* Leave what CUDA_VISIBLE_DEVICES shows, in its order; `text` is its value, NULL when it is not set. */
enum result vgpus_select(struct vgpus *vgpus, const char *text);
/* Write a vGPU's name as nvidia-smi writes that of a device. */
void vgpu_name(const struct vgpu *vgpu, char text[UUID_TEXT]);

#endif
