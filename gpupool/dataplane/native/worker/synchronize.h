/* Waiting calls. */
#ifndef GPUPOOL_WORKER_SYNCHRONIZE_H
#define GPUPOOL_WORKER_SYNCHRONIZE_H

#include "worker/session.h"

/* Answer `record` with `bytes` that lie in its slot, once a stream has done its work, or an event was reached. */
enum result answer_after(struct session *session, const struct record *record, struct reply *reply,
                      struct object *object, uint32_t bytes);

/* Answer `record` once the device has done all work. */
enum result answer_after_all(struct session *session, const struct record *record, struct reply *reply);

#endif
