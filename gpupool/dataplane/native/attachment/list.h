/* The vGPUs that a program may use. */
#ifndef GPUPOOL_ATTACHMENT_LIST_H
#define GPUPOOL_ATTACHMENT_LIST_H

#include "attachment/handshake.h"

/* `items` point into `attachments`. All zeros: nothing. */
struct vgpus {
    struct attachments attachments;
    struct vgpu *items;
    int count;
};

/* List the vGPUs of all attachments, each once. An attachment that can't be asked is left out; only when none is left
 * is that an error. Errors are logged. */
enum result vgpus_list(struct vgpus *all);
void vgpus_clear(struct vgpus *vgpus);

#endif
