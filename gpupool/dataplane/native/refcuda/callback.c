/* Functions of the program that run in a stream's order. */
#include <stdlib.h>

#include "refcuda/api.h"
#include "refcuda/driver.h"
#include "refcuda/queue.h"
#include "refcuda/stream.h"
#include "refcuda/thread.h"

struct callback {
    struct work work;
    CUhostFn function; /* one of these two */
    CUstreamCallback with_stream;
    CUstream stream;
    void *data;
};

static CUresult callback_run(struct work *work)
{
    struct callback *callback = (struct callback *)work;
    driver_set_callback(true);
    if (callback->function)
        callback->function(callback->data);
    else
        callback->with_stream(callback->stream, CUDA_SUCCESS, callback->data);
    driver_set_callback(false);
    return CUDA_SUCCESS;
}

static void callback_dispose(struct work *work)
{
    free(work);
}

static CUresult submit(enum null_stream null, CUstream handle, const struct callback *wanted)
{
    HELD struct stream *stream = NULL;
    struct callback *callback;
    CUresult result = stream_acquire(handle, null, &stream);
    if (result)
        return result;
    if (!(callback = malloc(sizeof *callback)))
        return CUDA_ERROR_OUT_OF_MEMORY;
    *callback = *wanted;
    callback->work = (struct work){.run = callback_run, .dispose = callback_dispose};
    return stream_submit(stream, &callback->work, NULL);
}

static CUresult launch_function(enum null_stream null, CUstream stream, CUhostFn function, void *data)
{
    struct callback callback = {.function = function, .data = data};
    return function ? submit(null, stream, &callback) : CUDA_ERROR_INVALID_VALUE;
}
TWIN(cuLaunchHostFunc, _ptsz, launch_function, (CUstream stream, CUhostFn function, void *data), stream, function, data)

static CUresult add_callback(enum null_stream null, CUstream stream, CUstreamCallback function, void *data,
                             unsigned int flags)
{
    struct callback callback = {.with_stream = function, .stream = stream, .data = data};
    return function && !flags ? submit(null, stream, &callback) : CUDA_ERROR_INVALID_VALUE;
}
TWIN(cuStreamAddCallback, _ptsz, add_callback,
     (CUstream stream, CUstreamCallback function, void *data, unsigned int flags), stream, function, data, flags)
