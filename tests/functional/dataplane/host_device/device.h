/* A device that is the host's own memory and processor: a second backend of the worker, for tests. */
#ifndef HOST_DEVICE_H
#define HOST_DEVICE_H

#include "worker/backend.h"

/* What launches run; parameters lie packed as the launch has them. */
struct host_function {
    const char *name;
    void (*run)(const unsigned char *parameters);
    uint32_t parameter_bytes;
};

/* NULL when there is none of this name. */
const struct host_function *host_function(const char *name);

extern const struct backend host_backend;

#endif
