#include "worker/cuda/handles.h"

#include "worker/object.h"

bool object_stream(struct session *session, uint64_t handle, CUstream *stream)
{
    const struct object *found = stream_object(session, handle);
    if (found)
        *stream = (CUstream)found->stream;
    return found;
}

bool object_event(struct session *session, uint64_t handle, CUevent *event)
{
    const struct object *found = event_object(session, handle);
    if (found)
        *event = (CUevent)found->event;
    return found;
}

bool object_module(struct session *session, uint64_t handle, CUmodule *module)
{
    const struct module *found = handle_get(&session->handles, handle, HANDLE_MODULE);
    if (found)
        *module = found->handle;
    return found;
}

bool object_function(struct session *session, uint64_t handle, CUfunction *function)
{
    const struct function *found = handle_get(&session->handles, handle, HANDLE_FUNCTION);
    if (found)
        *function = found->handle;
    return found;
}
