/* The process's state: cuInit, the devices of its attachments, their sessions, fork. What the environment says is read
 * by cuInit and holds from then on. */
#include <stdlib.h>
#include <string.h>
#include <stdio.h>

#include "runtime/runtime.h"

/* Volatile, so that neither compiler nor linker leave out what only others look for in the file. */
static const volatile char marker[] = RUNTIME_MARKER;

static struct {
    pthread_mutex_t lock;
    atomic_bool entered;
    bool fork_handled;
    struct vgpus vgpus; /* the program's devices */
    struct session *_Atomic *sessions; /* of each device; NULL: not opened */
} process = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* fork() copies the books as they are: no thread may be changing them. */
static void before_fork(void)
{
    pthread_mutex_lock(&process.lock);
    for (int index = 0; index < process.vgpus.count; index++)
        if (process.sessions[index])
            pthread_mutex_lock(&process.sessions[index]->table_lock);
    host_lock();
}

static void after_fork(void)
{
    host_unlock();
    for (int index = process.vgpus.count; index-- > 0;)
        if (process.sessions[index])
            pthread_mutex_unlock(&process.sessions[index]->table_lock);
    pthread_mutex_unlock(&process.lock);
}

/* The child of a fork starts anew. It must not hold the parent's connections: the worker would not
 * learn of the parent's end. */
static void start_anew(void)
{
    after_fork();
    for (int index = 0; index < process.vgpus.count; index++)
        if (process.sessions[index])
            session_abandon(process.sessions[index]);
    host_forget();
    stream_forget();
    process.sessions = NULL;
    process.vgpus = (struct vgpus){0};
    atomic_store(&process.entered, false);
    context_forget();
}

/* Learn what devices there are; no session is opened yet. */
static CUresult list_devices(void)
{
    CUresult result = vgpus_list(&process.vgpus);
    if (result != CUDA_SUCCESS)
        return result;
    result = vgpus_select(&process.vgpus, getenv("CUDA_VISIBLE_DEVICES"));
    if (result == CUDA_SUCCESS && !process.vgpus.count)
        result = CUDA_ERROR_NO_DEVICE;
    if (result == CUDA_SUCCESS) {
        process.sessions = calloc((size_t)process.vgpus.count, sizeof *process.sessions);
        result = process.sessions ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (result != CUDA_SUCCESS)
        vgpus_clear(&process.vgpus);
    return result;
}

static CUresult enter(void)
{
    (void)*marker;
    CUresult result = list_devices();
    if (result != CUDA_SUCCESS)
        return result;
    if (!process.fork_handled)
        process.fork_handled = fork_watch(before_fork, after_fork, start_anew);
    atomic_store(&process.entered, true);
    return CUDA_SUCCESS;
}

CUresult runtime_cuInit(unsigned int Flags)
{
    CUresult result = CUDA_SUCCESS;
    if (Flags)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&process.lock);
    if (!atomic_load(&process.entered))
        result = enter();
    pthread_mutex_unlock(&process.lock);
    return result;
}

CUresult runtime_entered(void)
{
    return atomic_load_explicit(&process.entered, memory_order_acquire) ? CUDA_SUCCESS
                                                                        : CUDA_ERROR_NOT_INITIALIZED;
}

int runtime_device_count(void)
{
    return process.vgpus.count;
}

struct session *runtime_opened(int ordinal)
{
    return ordinal >= 0 && ordinal < process.vgpus.count ? process.sessions[ordinal] : NULL;
}

CUresult runtime_session(CUdevice device, struct session **session)
{
    CUresult result = CUDA_SUCCESS;
    if (device < 0 || device >= process.vgpus.count)
        return CUDA_ERROR_INVALID_DEVICE;
    *session = process.sessions[device];
    if (!*session) {
        pthread_mutex_lock(&process.lock);
        *session = process.sessions[device];
        if (!*session)
            result = session_open(device, &process.vgpus.items[device], session);
        process.sessions[device] = *session;
        pthread_mutex_unlock(&process.lock);
    }
    if (result == CUDA_SUCCESS && atomic_load_explicit(&(*session)->lost, memory_order_relaxed))
        return CUDA_ERROR_DEVICE_UNAVAILABLE;
    return result;
}

/* What the device's driver offers, but no more than this runtime knows. */
CUresult runtime_cuDriverGetVersion(int *driverVersion)
{
    struct session *session;
    if (!driverVersion)
        return CUDA_ERROR_INVALID_VALUE;
    *driverVersion = CUDA_ABI_VERSION;
    if (runtime_entered() == CUDA_SUCCESS && runtime_session(0, &session) == CUDA_SUCCESS &&
        session->snapshot.driver_version > 0 && session->snapshot.driver_version < CUDA_ABI_VERSION)
        *driverVersion = session->snapshot.driver_version;
    return CUDA_SUCCESS;
}

CUresult runtime_cuDeviceGet(CUdevice *device, int ordinal)
{
    if (!device)
        return CUDA_ERROR_INVALID_VALUE;
    if (ordinal < 0 || ordinal >= process.vgpus.count)
        return CUDA_ERROR_INVALID_DEVICE;
    *device = ordinal;
    return CUDA_SUCCESS;
}

CUresult runtime_cuDeviceGetCount(int *count)
{
    if (!count)
        return CUDA_ERROR_INVALID_VALUE;
    *count = process.vgpus.count;
    return CUDA_SUCCESS;
}

static CUresult copy_text(char *to, int room, const char *text)
{
    if (!to || room <= 0)
        return CUDA_ERROR_INVALID_VALUE;
    snprintf(to, (size_t)room, "%s", text);
    return CUDA_SUCCESS;
}

CUresult runtime_cuDeviceGetName(char *name, int len, CUdevice dev)
{
    struct session *session;
    CUresult result = runtime_session(dev, &session);
    return result == CUDA_SUCCESS ? copy_text(name, len, session->snapshot.name) : result;
}

CUresult runtime_cuDeviceGetPCIBusId(char *pciBusId, int len, CUdevice dev)
{
    struct session *session;
    CUresult result = runtime_session(dev, &session);
    return result == CUDA_SUCCESS ? copy_text(pciBusId, len, session->snapshot.bus) : result;
}

CUresult runtime_cuDeviceGetByPCIBusId(CUdevice *dev, const char *pciBusId)
{
    struct session *session;
    if (!dev || !pciBusId)
        return CUDA_ERROR_INVALID_VALUE;
    for (int index = 0; index < process.vgpus.count; index++) {
        CUresult result = runtime_session(index, &session);
        if (result != CUDA_SUCCESS)
            return result;
        if (strcasecmp(session->snapshot.bus, pciBusId) == 0) {
            *dev = index;
            return CUDA_SUCCESS;
        }
    }
    return CUDA_ERROR_INVALID_DEVICE;
}

/* The vGPU's, as a MIG instance has one of its own: several on one device would be taken for one. */
CUresult runtime_cuDeviceGetUuid(CUuuid *uuid, CUdevice dev)
{
    if (!uuid)
        return CUDA_ERROR_INVALID_VALUE;
    if (dev < 0 || dev >= process.vgpus.count)
        return CUDA_ERROR_INVALID_DEVICE;
    memcpy(uuid->bytes, process.vgpus.items[dev].uuid, sizeof uuid->bytes);
    return CUDA_SUCCESS;
}

CUresult runtime_cuDeviceTotalMem_v2(size_t *bytes, CUdevice dev)
{
    if (!bytes)
        return CUDA_ERROR_INVALID_VALUE;
    if (dev < 0 || dev >= process.vgpus.count)
        return CUDA_ERROR_INVALID_DEVICE;
    *bytes = process.vgpus.items[dev].memory;
    return CUDA_SUCCESS;
}

CUresult runtime_cuDeviceGetAttribute(int *pi, CUdevice_attribute attrib, CUdevice dev)
{
    struct session *session;
    if (!pi)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = runtime_session(dev, &session);
    if (result != CUDA_SUCCESS)
        return result;
    size_t numbers = sizeof session->snapshot.known;
    if ((size_t)attrib >= numbers || !session->snapshot.known[attrib])
        return CUDA_ERROR_INVALID_VALUE;
    *pi = session->snapshot.attributes[attrib];
    return CUDA_SUCCESS;
}

CUresult runtime_cuDeviceComputeCapability(int *major, int *minor, CUdevice dev)
{
    CUresult result = runtime_cuDeviceGetAttribute(major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, dev);
    if (result != CUDA_SUCCESS)
        return result;
    return runtime_cuDeviceGetAttribute(minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, dev);
}

/* vGPUs never reach into each other. */
CUresult runtime_cuDeviceCanAccessPeer(int *canAccessPeer, CUdevice dev, CUdevice peerDev)
{
    if (!canAccessPeer)
        return CUDA_ERROR_INVALID_VALUE;
    if (dev < 0 || dev >= process.vgpus.count || peerDev < 0 || peerDev >= process.vgpus.count)
        return CUDA_ERROR_INVALID_DEVICE;
    *canAccessPeer = 0;
    return CUDA_SUCCESS;
}

CUresult runtime_cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attrib, CUdevice srcDevice,
                                         CUdevice dstDevice)
{
    if (!value || attrib < CU_DEVICE_P2P_ATTRIBUTE_PERFORMANCE_RANK ||
        attrib > CU_DEVICE_P2P_ATTRIBUTE_CUDA_ARRAY_ACCESS_SUPPORTED || srcDevice == dstDevice)
        return CUDA_ERROR_INVALID_VALUE;
    return runtime_cuDeviceCanAccessPeer(value, srcDevice, dstDevice);
}
