#ifndef GPUPOOL_WORKER_LOOP_H
#define GPUPOOL_WORKER_LOOP_H

#include "worker/session.h"

/* Take records until the runtime hangs up or breaks the protocol; return false if it broke it. */
bool loop_run(struct session *session);

#endif
