#include "worker/launch.h"

#include "gpupool_messages.h"
#include "worker/object.h"
#include "worker/span.h"
#include "worker/turn.h"

enum result serve_launch(SERVE_ARGUMENTS)
{
    const struct launch_request *request = (const void *)(record + 1);
    void *function = handle_get(&session->handles, request->function, HANDLE_FUNCTION);
    struct object *stream = stream_object(session, request->stream);
    if (!function || !stream)
        return RESULT_INVALID_HANDLE;
    if (!span_enter(session, stream))
        return turn_park(reply);
    enum result result = session->backend->launch(session->device, function, record, stream->stream);
    span_leave(session, stream);
    return result;
}
