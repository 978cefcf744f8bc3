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
/* What a session is opened with: a connection to a worker that serves, the ring, and where the agent tells what becomes
 * of the session, see wire/control.h; -1: an agent of an earlier version tells nothing. */
struct opened {
    int connection, ring, control;
};

/* Open a session. Errors are logged. */
enum result handshake_open(const struct vgpu *vgpu, struct opened *opened);

#endif
