/* Limits of the context. Three of them make the driver take device memory, so raising one is charged
 * like an allocation; else a program could use more than its claim. */
#include "gpupool_messages.h"
#include "wire/cuda/result.h"
#include "worker/cuda/device.h"
#include "worker/session.h"
#include "worker_serve.h"

/* How often the driver takes the limit's size: the stack is one for each thread that can be resident. */
static uint64_t copies(struct session *session, CUlimit limit)
{
    const struct device *device = session->device;
    int processors = 1, threads = 1;
    if (limit != CU_LIMIT_STACK_SIZE)
        return 1;
    device->driver.cuDeviceGetAttribute(&processors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device->number);
    device->driver.cuDeviceGetAttribute(&threads, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR,
                                        device->number);
    return (uint64_t)(processors > 0 ? processors : 1) * (uint64_t)(threads > 0 ? threads : 1);
}

/* Charge going from one value to another; false when the claim does not hold it or it overflows. */
static bool settle(struct session *session, CUlimit limit, uint64_t from, uint64_t to)
{
    uint64_t *charged = &session->device->limit_bytes[limit], bytes;
    if (to <= from) {
        uint64_t less = (from - to) * copies(session, limit);
        uint64_t given = less < *charged ? less : *charged;
        ledger_give(session->ledger, given);
        *charged -= given;
        return true;
    }
    if (__builtin_mul_overflow(to - from, copies(session, limit), &bytes) || !ledger_take(session->ledger, bytes))
        return false;
    *charged += bytes;
    return true;
}

enum result serve_cuCtxSetLimit(SERVE_ARGUMENTS)
{
    const struct cuCtxSetLimit_request *request = (const void *)(record + 1);
    CUlimit limit = (CUlimit)request->limit;
    size_t before = 0;
    (void)reply;
    if (request->limit < 0 || request->limit >= LIMITS)
        return result_of(session->device->driver.cuCtxSetLimit(limit, request->value));
    CUresult result = session->device->driver.cuCtxGetLimit(&before, limit);
    if (result != CUDA_SUCCESS)
        return result_of(result);
    if (!settle(session, limit, before, request->value))
        return RESULT_OUT_OF_MEMORY;
    result = session->device->driver.cuCtxSetLimit(limit, request->value);
    if (result != CUDA_SUCCESS)
        settle(session, limit, request->value, before);
    return result_of(result);
}
