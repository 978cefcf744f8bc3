/* The answer to a call, while it is put together. */
#ifndef GPUPOOL_WORKER_REPLY_H
#define GPUPOOL_WORKER_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/ring.h"

struct reply {
    uint32_t bytes;
    bool later; /* a waiting thread answers */
    bool parked; /* it was not served: its turn has not come, see turn.h */
    _Alignas(8) unsigned char data[RING_REPLY_LIMIT];
};

/* Append to the answer; what does not fit is a bug of the caller and ends the worker. */
void reply_put(struct reply *reply, const void *data, uint32_t bytes);

#endif
