/* Pinned host memory. */
#ifndef GPUPOOL_RUNTIME_CUDA_HOST_H
#define GPUPOOL_RUNTIME_CUDA_HOST_H

#include "runtime/session.h"

enum host_kind { HOST_ARENA = 1, HOST_PLAIN = 2, HOST_REGISTERED = 3 };

struct host_block {
    uint64_t start, bytes;
    enum host_kind kind;
    unsigned flags;
    int ordinal; /* of the session whose arena it is in */
};

/* The pinned block that holds the address; false: it is ordinary memory. */
bool host_find(uint64_t address, struct host_block *block);
/* Around fork(): what is locked then is whole in the child, which has no pinned memory. */
void host_lock(void);
void host_unlock(void);
void host_forget(void);
/* The arena offset of [host, host + bytes) if all of it is pinned in this session's arena. */
bool host_offset(const struct session *session, const void *host, size_t bytes, uint64_t *offset);

#endif
