/* What all workers of one device read of it: a small file that the agent alone writes (gpupool/dataplane/device_state.py
 * holds the same layout), mapped for reading only, since the device's workers are of many projects. */
#ifndef GPUPOOL_WORKER_DEVICE_STATE_H
#define GPUPOOL_WORKER_DEVICE_STATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define DEVICE_STATE_MAGIC 0x56454447u /* "GDEV" */
#define DEVICE_STATE_VERSION 1u

struct device_state {
    uint32_t magic;
    uint32_t version;
    _Atomic uint32_t frozen; /* not 0: the work of all its vGPUs waits */
    uint32_t reserved[13];
};

_Static_assert(sizeof(struct device_state) == 64, "one cache line");

/* Map and close `fd`; NULL with errno when it is no such file. */
const struct device_state *device_state_map(int fd);

#endif
