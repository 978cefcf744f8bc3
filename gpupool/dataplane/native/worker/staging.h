/* The part of the arena through which data goes to the device: a ring that the client fills and whose
 * pieces become free, in order, when the device has read them. */
#ifndef GPUPOOL_WORKER_STAGING_H
#define GPUPOOL_WORKER_STAGING_H

#include "worker/session.h"

struct staging *staging_new(void);

/* The bytes at a client's position; NULL when they are not inside staging. */
const unsigned char *staging_bytes(struct session *session, uint64_t position, uint64_t bytes);

/* The piece that ends at `end` is read once the work now on `stream` is done; NULL: it is read. */
enum result staging_release(struct session *session, uint64_t end, struct object *stream);

enum result serve_staging_wait(SERVE_ARGUMENTS);

#endif
