/* What the device takes for allocations: it backs them by granules (on a GPU pages of 2 MiB), which small ones share. */
#ifndef GPUPOOL_WORKER_GRANULE_H
#define GPUPOOL_WORKER_GRANULE_H

#include <stdint.h>

#include "worker/session.h"

/* Bytes of the granules that hold [address, address + bytes) and no other allocation of the session. */
uint64_t granules_of_its_own(const struct session *session, uint64_t address, uint64_t bytes);

/* `bytes` in whole granules; too many to hold stay so. */
uint64_t granules_whole(const struct session *session, uint64_t bytes);

#endif
