/* Waiting calls. */
#ifndef GPUPOOL_WORKER_SYNCHRONIZE_H
#define GPUPOOL_WORKER_SYNCHRONIZE_H

#include "worker/session.h"

/* Answer `record` with `bytes` that lie in its slot, once `stream` has done its work. */
CUresult answer_after(struct session *session, const struct record *record, struct reply *reply,
                      struct object *stream, uint32_t bytes);

#endif
