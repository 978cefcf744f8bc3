/* Threads that wait for the device, so that the one which takes records does only where it must: at the gate, for
 * runs of work that are to be measured, and in the device library itself. */
#ifndef GPUPOOL_WORKER_WAITER_H
#define GPUPOOL_WORKER_WAITER_H

#include "worker/session.h"

/* Waits for what `record` asked for and answers it. */
struct job {
    struct record record;
    enum result (*wait)(struct session *session, struct job *job);
    struct object *object; /* referenced */
    uint64_t position;
    uint32_t bytes; /* of the answer, which lies in the slot already */
    enum result earlier; /* the deferred error that the answer tells */
    struct job *next;
};

struct waiters *waiters_new(struct session *session);

/* Hand over a copy of `job` with the reference it holds. False when there are more jobs than reply
 * slots, which no honest client makes. */
bool waiters_add(struct waiters *waiters, const struct job *job);

#endif
