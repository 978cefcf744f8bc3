#include "worker/clear.h"

#include <stdlib.h>

#include "worker/clock.h"

bool clear_open(struct session *session)
{
    const char *wanted = getenv("GPUPOOL_CLEAR_MEMORY");
    if (!wanted || !*wanted)
        return true;
    /* Of its own, so that it waits for no work of the client's. */
    return session->driver.cuStreamCreateWithPriority(&session->clearing, CU_STREAM_NON_BLOCKING, 0) == CUDA_SUCCESS;
}

CUresult clear_memory(struct session *session, CUdeviceptr address, uint64_t bytes)
{
    if (!session->clearing)
        return CUDA_SUCCESS;
    arbiter_admit(session->arbiter);
    uint64_t begun = now_ns();
    CUresult result = session->driver.cuMemsetD8Async(address, 0, bytes, session->clearing);
    if (result == CUDA_SUCCESS)
        result = session->driver.cuStreamSynchronize(session->clearing);
    arbiter_charge(session->arbiter, begun, now_ns());
    return result;
}
