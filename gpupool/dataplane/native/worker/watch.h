/* The thread that hears of the runtime's end, and what the agent tells. */
#ifndef GPUPOOL_WORKER_WATCH_H
#define GPUPOOL_WORKER_WATCH_H

#include "worker/session.h"

/* Start it: it ends the session when the runtime hangs up, in any way and whatever the main thread does. False when there
 * is no thread. */
bool watch_start(struct session *session);

/* The device has no work of a session that is frozen: tell the agent, which waits for that. */
void watch_drained(struct session *session);

#endif
