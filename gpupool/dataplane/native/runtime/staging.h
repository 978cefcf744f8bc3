/* Data on its way to the device, by way of the staging part of the arena. */
#ifndef GPUPOOL_RUNTIME_STAGING_H
#define GPUPOOL_RUNTIME_STAGING_H

#include "runtime/session.h"

/* Put `bytes` into staging and hand them over with `send`, piece by piece. */
enum result staging_send(struct session *session, const void *source, size_t bytes,
                         enum result (*send)(struct session *session, uint64_t position, size_t bytes, void *context),
                         void *context);

#endif
