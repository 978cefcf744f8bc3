/* The launch attributes that travel: those whose value is plain numbers. Others hold handles or pointers of
 * the program, which mean nothing to the worker. The runtime refuses them at the call, the worker again. */
#ifndef GPUPOOL_WIRE_LAUNCH_ATTRIBUTE_H
#define GPUPOOL_WIRE_LAUNCH_ATTRIBUTE_H

#include <stdbool.h>

static inline bool launch_attribute_travels(int id)
{
    enum { IGNORE = 0, COOPERATIVE = 2, SYNCHRONIZATION_POLICY = 3, CLUSTER_DIMENSION = 4, CLUSTER_POLICY = 5,
           PROGRAMMATIC_SERIALIZATION = 6, PRIORITY = 8, MEMORY_DOMAIN = 10, PREFERRED_CLUSTER = 11,
           SHARED_CARVEOUT = 14 };
    switch (id) {
    case IGNORE: case COOPERATIVE: case SYNCHRONIZATION_POLICY: case CLUSTER_DIMENSION: case CLUSTER_POLICY:
    case PROGRAMMATIC_SERIALIZATION: case PRIORITY: case MEMORY_DOMAIN: case PREFERRED_CLUSTER:
    case SHARED_CARVEOUT:
        return true;
    default:
        return false;
    }
}

#endif
