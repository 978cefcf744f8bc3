/* Calls that gpupool answers in CUDA's place. */
#include "gpupool_messages.h"
#include "worker/object.h"
#include "worker/synchronize.h"
#include "worker_serve.h"

enum result serve_cuMemGetInfo_v2(SERVE_ARGUMENTS)
{
    (void)record;
    struct cuMemGetInfo_v2_reply answer = {0};
    ledger_memory(session->ledger, &answer.free_bytes, &answer.total_bytes);
    reply_put(reply, &answer, sizeof answer);
    return RESULT_OK;
}

enum result serve_cuStreamSynchronize(SERVE_ARGUMENTS)
{
    const struct cuStreamSynchronize_request *request = (const void *)(record + 1);
    struct object *stream = stream_object(session, request->hStream);
    return stream ? answer_after(session, record, reply, stream, 0) : RESULT_INVALID_HANDLE;
}

enum result serve_cuEventSynchronize(SERVE_ARGUMENTS)
{
    const struct cuEventSynchronize_request *request = (const void *)(record + 1);
    struct object *event = event_object(session, request->hEvent);
    return event ? answer_after(session, record, reply, event, 0) : RESULT_INVALID_HANDLE;
}

enum result serve_cuCtxSynchronize(SERVE_ARGUMENTS)
{
    return answer_after_all(session, record, reply);
}
