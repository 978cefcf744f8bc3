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

#define ASKED(name, serve) [CALL_##name] = {serve, sizeof(struct name##_request), true}
#define SENT(name) [CALL_##name] = {serve_##name, sizeof(struct name##_request), false}
static const struct service services[CALL_COUNT] = {
    [CALL_cuMemGetInfo_v2] = {serve_memory_info, 0, true},
    [CALL_cuCtxSynchronize] = {serve_wait, 0, true},
    ASKED(cuStreamSynchronize, serve_stream_wait),
    ASKED(module_function, serve_function),
    ASKED(memory_allocate, serve_memory_allocate),
    ASKED(memory_allocate_pitch, serve_memory_allocate_pitch),
    ASKED(copy_out_small, serve_copy_out_small),
    ASKED(staging_wait, serve_staging_wait),
    SENT(memory_free),
    SENT(memory_set),
    SENT(copy_in),
    SENT(copy_in_small),
    SENT(copy_arena),
    SENT(copy_device),
    SENT(host_register),
    SENT(host_unregister),
    SENT(stream_create),
    SENT(stream_destroy),
    SENT(event_create),
    SENT(event_destroy),
    SENT(launch),
};

static bool waits(uint16_t call)
{
    return call == CALL_cuCtxSynchronize || call == CALL_cuStreamSynchronize || call == CALL_staging_wait;
}

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
        .backend = &host_backend, .services = services, .service_count = CALL_COUNT, .waits = waits, .skip = skip,
        .end_item = end_item,
    };
    return worker_main(count, arguments, &api);
}
