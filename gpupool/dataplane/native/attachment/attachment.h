/* The attachments of a program: where it finds them, and the vGPUs that each of them gives. Used by the runtime and by
 * gpupool-doctor. */
#ifndef GPUPOOL_ATTACHMENT_H
#define GPUPOOL_ATTACHMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cuda/cuda_abi.h"
#include "wire/handshake.h"

/* Where an attachment's sessions are asked for. */
struct attachment {
    char *socket; /* path */
    char ticket[HANDSHAKE_TEXT];
};

struct attachments {
    struct attachment *items;
    int count;
};

/* One vGPU of one attachment. */
struct vgpu {
    const struct attachment *attachment;
    int ordinal; /* by which the agent opens it */
    uint64_t memory; /* bytes */
    uint32_t compute; /* percent */
    unsigned char uuid[16];
};

/* What a program may use; `items` point into `attachments`. All zeros: nothing. */
struct vgpus {
    struct attachments attachments;
    struct vgpu *items;
    int count;
};

/* --- find.c --- */

/* More of them than ordinals of devices would tell apart are left out. */
#define ATTACHMENTS_MAX 64

/* The folder in which a container has a folder for each of its attachments. */
const char *attachments_folder(void);
/* Find the attachments that GPUPOOL_SOCKET and GPUPOOL_TICKET name, or else those in the folder, by their ids. Errors
 * are logged; then and when there are none the list may be empty. */
CUresult attachments_find(struct attachments *found);
void attachments_clear(struct attachments *attachments);

/* --- handshake.c --- */

/* Ask the agent which vGPUs an attachment gives; `*vgpus` is malloc-ed. Errors are logged. */
CUresult handshake_list(const struct attachment *attachment, struct vgpu **vgpus, int *count);
/* Open: on success a connection to a worker that serves, and the ring's descriptor. Errors are logged. */
CUresult handshake_open(const struct vgpu *vgpu, int *connection, int *ring);

/* --- list.c --- */

/* List the vGPUs of all attachments, each once. An attachment that can't be asked is left out; only when none is left
 * is that an error. Errors are logged. */
CUresult vgpus_list(struct vgpus *all);
void vgpus_clear(struct vgpus *vgpus);

/* --- visible.c --- */

#define UUID_TEXT 41 /* bytes of "GPU-", a UUID and a NUL */

/* Leave what CUDA_VISIBLE_DEVICES shows, in its order; `text` is its value, NULL when it is not set. */
CUresult vgpus_select(struct vgpus *vgpus, const char *text);
/* Write a vGPU's name as nvidia-smi writes that of a device. */
void vgpu_name(const struct vgpu *vgpu, char text[UUID_TEXT]);

/* A string that the runtime's file holds and no other libcuda's: by it gpupool-doctor and gpupool/client/loaded.py tell
 * one from the other, also where it is only mapped by another process. */
#define RUNTIME_MARKER "gpupool's runtime in place of libcuda"

/* --- log.c --- */

/* One line on standard error, starting "gpupool: ". */
void runtime_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
