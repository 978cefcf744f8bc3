/* The messages of CUDA's API, and who serves them. */
#include "worker/cuda/dispatch.h"

#include <stdlib.h>

#include "gpupool_messages.h"
#include "wire/cuda/result.h"
#include "worker/cuda/backend.h"
#include "worker/cuda/device.h"
#include "worker/cuda/handles.h"
#include "worker/cuda/module.h"
#include "worker_serve.h"
#include "worker_services.h"

#include "worker_dispatch.inc"

/* An image sent for a load that is not served is not part of the next one. */
static void skip(struct session *session, uint16_t call)
{
    if (call == CALL_module_load)
        image_drop(session);
}

static void end_item(struct session *session, enum handle_kind kind, void *item)
{
    if (kind == HANDLE_MODULE)
        module_end(session, item);
    else
        free(item);
}

const struct api cuda_api = {
    .backend = &cuda_backend, .services = services, .service_count = CALL_COUNT, .skip = skip,
    .end_item = end_item,
};
