/* Device memory: every byte is charged to the ledger before the device is asked for it. */
#ifndef GPUPOOL_WORKER_MEMORY_H
#define GPUPOOL_WORKER_MEMORY_H

#include "worker/session.h"

/* What devices were seen to round up to; CUDA's guide promises addresses aligned to half of it. */
#define MEMORY_UNIT 512u

/* What a module that takes `bytes` of device memory is charged with; too many to hold stay so. */
static inline uint64_t memory_charge(uint64_t bytes)
{
    return bytes > UINT64_MAX - MEMORY_UNIT ? UINT64_MAX : (bytes + MEMORY_UNIT - 1) / MEMORY_UNIT * MEMORY_UNIT;
}

/* Whether [address, address + bytes) is this session's device memory. */
bool session_owns(const struct session *session, uint64_t address, uint64_t bytes);

/* Note device memory that the client may use from now on, at the host's cost; false when that does not fit. */
bool keep_range(struct session *session, struct range range);

/* The session ends: free all allocations. */
void memory_free_all(struct session *session);

enum result serve_memory_allocate(SERVE_ARGUMENTS);
enum result serve_memory_allocate_pitch(SERVE_ARGUMENTS);
enum result serve_memory_free(SERVE_ARGUMENTS);
enum result serve_memory_set(SERVE_ARGUMENTS);

#endif
