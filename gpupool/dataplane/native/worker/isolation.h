/* Separates a worker from the rest of the host: namespaces, a file system of its own, a user of its own. */
#ifndef GPUPOOL_ISOLATION_H
#define GPUPOOL_ISOLATION_H

#include <stdbool.h>
#include <sys/types.h>

#include "worker/missing.h"
#include "worker/sandbox.h"

struct isolation {
    enum sandbox sandbox;
    int library; /* descriptor of the device's library, -1: it is found by its name */
    uid_t uid;   /* to run as, with a group of the same number; 0: as whoever started the process */
};

/* Call it first of all, with one thread: no other process may open this one's memory from then on, and it
 * has no privilege left. Parts that the host does not allow are left out. Returns 0, or -1 with errno when
 * the user or the privileges could not be changed: then nothing of a client may be run. */
int isolation_enter(const struct isolation *isolation, missing_part *missing);

#endif
