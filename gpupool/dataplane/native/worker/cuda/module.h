/* Modules and functions. */
#ifndef GPUPOOL_WORKER_MODULE_H
#define GPUPOOL_WORKER_MODULE_H

#include "worker/session.h"

#define MODULE_PARAMETERS 900u /* most that one answer describes */

struct function {
    CUfunction handle;
    uint64_t module;
    bool layout_known; /* the driver says where parameters lie */
    uint32_t parameter_count;
    uint32_t parameter_bytes;
    struct { uint16_t offset, bytes; } parameters[MODULE_PARAMETERS];
};

bool object_module(struct session *session, uint64_t handle, CUmodule *module);

#endif
