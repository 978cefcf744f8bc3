/* A worker that serves such a device: the messages that are not CUDA's, and a function by its name. */
#include <string.h>

#include "device.h"
#include "gpupool_messages.h"
#include "worker/copy.h"
#include "worker/launch.h"
#include "worker/memory.h"
#include "worker/object.h"
#include "worker/staging.h"
#include "worker/synchronize.h"
#include "worker/worker.h"
#include "worker_services.h"

static enum result serve_memory_info(SERVE_ARGUMENTS)
{
    struct cuMemGetInfo_v2_reply answer = {0};
    (void)record;
    ledger_memory(session->ledger, &answer.free_bytes, &answer.total_bytes);
    reply_put(reply, &answer, sizeof answer);
    return RESULT_OK;
}

static enum result serve_wait(SERVE_ARGUMENTS)
{
    return answer_after_all(session, record, reply);
}

static enum result serve_stream_wait(SERVE_ARGUMENTS)
{
    const struct cuStreamSynchronize_request *request = (const void *)(record + 1);
    struct object *stream = stream_object(session, request->hStream);
    return stream ? answer_after(session, record, reply, stream, 0) : RESULT_INVALID_HANDLE;
}

static enum result serve_function(SERVE_ARGUMENTS)
{
    const struct module_function_request *request = (const void *)(record + 1);
    char name[32] = "";
    (void)reply;
    if (payload_bytes(record, sizeof *request) < sizeof name)
        memcpy(name, request + 1, payload_bytes(record, sizeof *request));
    const struct host_function *found = host_function(name);
    if (!found)
        return RESULT_INVALID_VALUE;
    bool kept = handle_set(&session->handles, request->function, HANDLE_FUNCTION, (void *)found);
    return kept ? RESULT_OK : RESULT_INVALID_HANDLE;
}

static const struct service services[CALL_COUNT] = {
    SERVICE_cuMemGetInfo_v2(serve_memory_info),
    SERVICE_cuCtxSynchronize(serve_wait),
    SERVICE_cuStreamSynchronize(serve_stream_wait),
    SERVICE_module_function(serve_function),
    SERVICE_memory_allocate(serve_memory_allocate),
    SERVICE_memory_allocate_pitch(serve_memory_allocate_pitch),
    SERVICE_copy_out_small(serve_copy_out_small),
    SERVICE_staging_wait(serve_staging_wait),
    SERVICE_memory_free(serve_memory_free),
    SERVICE_memory_set(serve_memory_set),
    SERVICE_copy_in(serve_copy_in),
    SERVICE_copy_in_small(serve_copy_in_small),
    SERVICE_copy_arena(serve_copy_arena),
    SERVICE_copy_device(serve_copy_device),
    SERVICE_host_register(serve_host_register),
    SERVICE_host_unregister(serve_host_unregister),
    SERVICE_stream_create(serve_stream_create),
    SERVICE_stream_destroy(serve_stream_destroy),
    SERVICE_event_create(serve_event_create),
    SERVICE_event_destroy(serve_event_destroy),
    SERVICE_launch(serve_launch),
};

static void skip(struct session *session, uint16_t call)
{
    (void)session, (void)call;
}

static void end_item(struct session *session, enum handle_kind kind, void *item)
{
    (void)session, (void)kind, (void)item;
}

int main(int count, char **arguments)
{
    static const struct api api = {
        .backend = &host_backend, .services = services, .service_count = CALL_COUNT, .skip = skip,
        .end_item = end_item,
    };
    return worker_main(count, arguments, &api);
}
