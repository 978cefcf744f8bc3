/* gpupool-worker: serves one session on one device; started by the agent (gpupool/dataplane/worker.py). */
#ifndef GPUPOOL_WORKER_WORKER_H
#define GPUPOOL_WORKER_WORKER_H

#include "worker/api.h"

/* The program, serving the messages of one API. It may end the process instead of returning its exit status. */
int worker_main(int count, char **arguments, const struct api *api);

#endif
