/* Streams and events. */
#ifndef GPUPOOL_WORKER_OBJECT_H
#define GPUPOOL_WORKER_OBJECT_H

#include "worker/session.h"

/* Find what a client's handle stands for; NULL when it is nothing. Stream 0 is the default stream. */
struct object *stream_object(struct session *session, uint64_t handle);
struct object *event_object(struct session *session, uint64_t handle);
void object_release(struct session *session, struct object *object);

enum result serve_stream_create(SERVE_ARGUMENTS);
enum result serve_stream_destroy(SERVE_ARGUMENTS);
enum result serve_event_create(SERVE_ARGUMENTS);
enum result serve_event_destroy(SERVE_ARGUMENTS);

#endif
