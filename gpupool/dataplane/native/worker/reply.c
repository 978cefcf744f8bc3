#include "worker/reply.h"

#include <stdlib.h>
#include <string.h>

void reply_put(struct reply *reply, const void *data, uint32_t bytes)
{
    if (bytes > sizeof reply->data - reply->bytes)
        abort();
    memcpy(reply->data + reply->bytes, data, bytes);
    reply->bytes += bytes;
}
