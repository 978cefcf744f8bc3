/* Device memory that another project may have had before: NVIDIA's driver clears what is freed unless it is told not to;
 * this does not depend on that. */
#ifndef GPUPOOL_WORKER_CLEAR_H
#define GPUPOOL_WORKER_CLEAR_H

#include "worker/session.h"

/* Clear allocations from now on if the environment says so: GPUPOOL_CLEAR_MEMORY is set. False when that fails. */
bool clear_open(struct session *session);

/* Fill new memory with zeros before anything else can use its address. It is charged as the client's own work. */
enum result clear_memory(struct session *session, uint64_t address, uint64_t bytes);

#endif
