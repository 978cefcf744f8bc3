/* The runtime's side of wire/handshake.h. */
#ifndef GPUPOOL_ATTACHMENT_HANDSHAKE_H
#define GPUPOOL_ATTACHMENT_HANDSHAKE_H

#include <stdint.h>

#include "attachment/find.h"

/* One vGPU of one attachment. */
struct vgpu {
    const struct attachment *attachment;
    int ordinal; /* by which the agent opens it */
    uint64_t memory; /* bytes */
    uint32_t compute; /* percent */
    unsigned char uuid[16];
};

/* Ask the agent which vGPUs an attachment gives; `*vgpus` is malloc-ed. Errors are logged. */
enum result handshake_list(const struct attachment *attachment, struct vgpu **vgpus, int *count);
/* Open: on success a connection to a worker that serves, and the ring's descriptor. Errors are logged. */
enum result handshake_open(const struct vgpu *vgpu, int *connection, int *ring);

#endif
