/* Modules and functions. */
#ifndef GPUPOOL_WORKER_MODULE_H
#define GPUPOOL_WORKER_MODULE_H

#include "worker/cuda/handles.h"

/* Unload a module and free it. */
CUresult module_end(struct session *session, struct module *module);

/* Forget the parts of an image that no load has taken. */
void image_drop(struct session *session);

#endif
