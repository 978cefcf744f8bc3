/* cuInit, and what fork() does to CUDA's own state. */
#include <stdlib.h>

#include "attachment/cuda/visible.h"
#include "attachment/marker.h"
#include "gpupool_calls.h"
#include "runtime/cuda/current.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/host.h"
#include "runtime/cuda/stream.h"
#include "runtime/process.h"
#include "wire/cuda/result.h"

/* Volatile, so that neither compiler nor linker leave out what only others look for in the file. */
static const volatile char marker[] = RUNTIME_MARKER;

static enum result select_visible(struct vgpus *vgpus)
{
    return vgpus_select(vgpus, getenv("CUDA_VISIBLE_DEVICES"));
}

static void forget(void)
{
    host_forget();
    stream_forget();
    current_forget();
}

CUresult runtime_cuInit(unsigned int Flags)
{
    static const struct process_api api = {
        .select = select_visible, .learn = device_learn, .lock = host_lock, .unlock = host_unlock, .forget = forget,
    };
    (void)*marker;
    return Flags ? CUDA_ERROR_INVALID_VALUE : cuda_result(process_enter(&api));
}
