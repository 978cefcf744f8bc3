/* Copies. All are put on a stream; what must wait for one waits elsewhere. */
#ifndef GPUPOOL_WORKER_COPY_H
#define GPUPOOL_WORKER_COPY_H

#include "worker/session.h"

enum result serve_copy_in(SERVE_ARGUMENTS);
enum result serve_copy_in_small(SERVE_ARGUMENTS);
enum result serve_copy_out_small(SERVE_ARGUMENTS);
enum result serve_copy_arena(SERVE_ARGUMENTS);
enum result serve_copy_device(SERVE_ARGUMENTS);
enum result serve_host_register(SERVE_ARGUMENTS);
enum result serve_host_unregister(SERVE_ARGUMENTS);

#endif
