#ifndef GPUPOOL_WORKER_LAUNCH_H
#define GPUPOOL_WORKER_LAUNCH_H

#include "worker/session.h"

enum result serve_launch(SERVE_ARGUMENTS);

#endif
