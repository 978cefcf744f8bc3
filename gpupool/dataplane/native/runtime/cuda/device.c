/* Devices as the program sees them. */
#include "runtime/cuda/device.h"

#include <stdlib.h>
#include <string.h>

#include "gpupool_calls.h"
#include "runtime/process.h"
#include "wire/cuda/result.h"

static enum result ask_snapshot(struct session *session, struct snapshot_reply *snapshot)
{
    size_t got = 0;
    struct bytes none = {NULL, 0};
    enum result result = session_ask(session, CALL_snapshot, none, none, snapshot, sizeof *snapshot, &got);
    return result == RESULT_OK && got != sizeof *snapshot ? RESULT_UNKNOWN : result;
}

/* The handle of a primary context; 0: no memory. */
static uint64_t make_primary(struct session *session)
{
    struct context *context = calloc(1, sizeof *context);
    if (!context)
        return 0;
    context->primary = true;
    uint64_t handle = handle_new(&session->handles, HANDLE_CONTEXT, context);
    if (!handle)
        free(context);
    return handle;
}

enum result device_learn(struct session *session)
{
    struct device *device = calloc(1, sizeof *device);
    if (!device)
        return RESULT_OUT_OF_MEMORY;
    pthread_mutex_init(&device->load_lock, NULL);
    enum result result = ask_snapshot(session, &device->snapshot);
    if (result == RESULT_OK && !(device->primary = make_primary(session)))
        result = RESULT_OUT_OF_MEMORY;
    if (result == RESULT_OK)
        session->device = device;
    else
        free(device);
    return result;
}

CUresult device_session(CUdevice device, struct session **session)
{
    return cuda_result(process_session(device, session));
}

/* What the device's driver offers, but no more than this runtime knows. */
CUresult runtime_cuDriverGetVersion(int *driverVersion)
{
    struct session *session;
    if (!driverVersion)
        return CUDA_ERROR_INVALID_VALUE;
    *driverVersion = CUDA_ABI_VERSION;
    if (process_entered() && device_session(0, &session) == CUDA_SUCCESS &&
        session->device->snapshot.driver_version > 0 && session->device->snapshot.driver_version < CUDA_ABI_VERSION)
        *driverVersion = session->device->snapshot.driver_version;
    return CUDA_SUCCESS;
}

CUresult runtime_cuDeviceGetByPCIBusId(CUdevice *dev, const char *pciBusId)
{
    struct session *session;
    if (!dev || !pciBusId)
        return CUDA_ERROR_INVALID_VALUE;
    for (int index = 0; index < process_device_count(); index++) {
        CUresult result = device_session(index, &session);
        if (result != CUDA_SUCCESS)
            return result;
        if (strcasecmp(session->device->snapshot.bus, pciBusId) == 0) {
            *dev = index;
            return CUDA_SUCCESS;
        }
    }
    return CUDA_ERROR_INVALID_DEVICE;
}

CUresult runtime_cuDeviceGetAttribute(int *pi, CUdevice_attribute attrib, CUdevice dev)
{
    struct session *session;
    if (!pi)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = device_session(dev, &session);
    if (result != CUDA_SUCCESS)
        return result;
    size_t numbers = sizeof session->device->snapshot.known;
    if ((size_t)attrib >= numbers || !session->device->snapshot.known[attrib])
        return CUDA_ERROR_INVALID_VALUE;
    *pi = session->device->snapshot.attributes[attrib];
    return CUDA_SUCCESS;
}

CUresult runtime_cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attrib, CUdevice srcDevice,
                                         CUdevice dstDevice)
{
    if (!value || attrib < CU_DEVICE_P2P_ATTRIBUTE_PERFORMANCE_RANK ||
        attrib > CU_DEVICE_P2P_ATTRIBUTE_CUDA_ARRAY_ACCESS_SUPPORTED || srcDevice == dstDevice)
        return CUDA_ERROR_INVALID_VALUE;
    if (!process_device(srcDevice) || !process_device(dstDevice))
        return CUDA_ERROR_INVALID_DEVICE;
    *value = 0;
    return CUDA_SUCCESS;
}
