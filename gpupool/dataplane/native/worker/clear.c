#include "worker/clear.h"

#include <stdlib.h>

#include "worker/clock.h"

bool clear_open(struct session *session)
{
    const char *wanted = getenv("GPUPOOL_CLEAR_MEMORY");
    if (!wanted || !*wanted)
        return true;
    /* Of its own, so that it waits for no work of the client's. */
    return session->backend->stream_make(session->device, session->backend->independent, 0, &session->clearing) ==
           RESULT_OK;
}

enum result clear_memory(struct session *session, uint64_t address, uint64_t bytes)
{
    const struct fill zeros = {.address = address, .width = bytes, .height = 1, .element_bytes = 1};
    if (!session->clearing)
        return RESULT_OK;
    uint64_t begun = now_ns();
    enum result result = session->backend->fill(session->device, &zeros, session->clearing);
    if (result == RESULT_OK)
        result = session->backend->stream_wait(session->device, session->clearing);
    arbiter_charge(session->arbiter, begun, now_ns());
    return result;
}
