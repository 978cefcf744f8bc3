/* A device of CUDA's as the worker sees it. Streams and events are the driver's own handles. */
#include "worker/cuda/backend.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire/cuda/result.h"
#include "worker/cuda/device.h"
#include "worker/cuda/driver.h"
#include "worker/cuda/launch.h"

static CUresult use_device(struct device *device, int ordinal)
{
    const struct driver *driver = &device->driver;
    CUresult result = driver->cuInit(0);
    if (result == CUDA_SUCCESS)
        result = driver->cuDeviceGet(&device->number, ordinal);
    /* Threads that wait for the device sleep: the processors are the programs'. */
    if (result == CUDA_SUCCESS)
        result = driver->cuDevicePrimaryCtxSetFlags(device->number, CU_CTX_SCHED_BLOCKING_SYNC);
    if (result == CUDA_SUCCESS)
        result = driver->cuDevicePrimaryCtxRetain(&device->context, device->number);
    if (result == CUDA_SUCCESS)
        result = driver->cuCtxSetCurrent(device->context);
    return result;
}

static enum result open_device(const char *library, int ordinal, struct device **device, char *why, size_t room)
{
    static struct device opened;
    /* What a module takes is charged when it is loaded, so it must be taken then. */
    setenv("CUDA_MODULE_LOADING", "EAGER", 1);
    if (!driver_open(library, &opened.driver)) {
        snprintf(why, room, "%s", dlerror());
        return RESULT_UNKNOWN;
    }
    CUresult result = use_device(&opened, ordinal);
    if (result != CUDA_SUCCESS)
        snprintf(why, room, "CUDA error %d", result);
    *device = &opened;
    return result_of(result);
}

static void enter(struct device *device)
{
    device->driver.cuCtxSetCurrent(device->context);
}

static void close_device(struct device *device)
{
    device->driver.cuDevicePrimaryCtxRelease(device->number);
}

/* --- memory --- */

static enum result allocate(struct device *device, uint64_t bytes, uint64_t *address)
{
    CUdeviceptr made = 0;
    CUresult result = device->driver.cuMemAlloc_v2(&made, bytes);
    *address = made;
    return result_of(result);
}

static enum result allocate_rows(struct device *device, uint64_t width, uint64_t height, uint32_t element_bytes,
                                 uint64_t *address, uint64_t *pitch)
{
    CUdeviceptr made = 0;
    size_t chosen = 0;
    CUresult result = device->driver.cuMemAllocPitch_v2(&made, &chosen, width, height, element_bytes);
    *address = made;
    *pitch = chosen;
    return result_of(result);
}

static enum result free_memory(struct device *device, uint64_t address)
{
    return result_of(device->driver.cuMemFree_v2(address));
}

static void pin(struct device *device, void *memory, uint64_t bytes)
{
    device->driver.cuMemHostRegister_v2(memory, bytes, CU_MEMHOSTREGISTER_PORTABLE);
}

static void unpin(struct device *device, void *memory)
{
    device->driver.cuMemHostUnregister(memory);
}

/* --- work --- */

static enum result copy_in(struct device *device, uint64_t to, const void *from, uint64_t bytes, struct stream *stream)
{
    return result_of(device->driver.cuMemcpyHtoDAsync_v2(to, from, bytes, (CUstream)stream));
}

static enum result copy_out(struct device *device, void *to, uint64_t from, uint64_t bytes, struct stream *stream)
{
    return result_of(device->driver.cuMemcpyDtoHAsync_v2(to, from, bytes, (CUstream)stream));
}

static enum result copy_within(struct device *device, uint64_t to, uint64_t from, uint64_t bytes,
                               struct stream *stream)
{
    return result_of(device->driver.cuMemcpyDtoDAsync_v2(to, from, bytes, (CUstream)stream));
}

static CUresult fill_run(const struct driver *driver, const struct fill *fill, CUstream stream)
{
    switch (fill->element_bytes) {
    case 1:
        return driver->cuMemsetD8Async(fill->address, (unsigned char)fill->value, fill->width, stream);
    case 2:
        return driver->cuMemsetD16Async(fill->address, (unsigned short)fill->value, fill->width, stream);
    default:
        return driver->cuMemsetD32Async(fill->address, fill->value, fill->width, stream);
    }
}

static CUresult fill_rows(const struct driver *driver, const struct fill *fill, CUstream stream)
{
    switch (fill->element_bytes) {
    case 1:
        return driver->cuMemsetD2D8Async(fill->address, fill->pitch, (unsigned char)fill->value, fill->width,
                                         fill->height, stream);
    case 2:
        return driver->cuMemsetD2D16Async(fill->address, fill->pitch, (unsigned short)fill->value, fill->width,
                                          fill->height, stream);
    default:
        return driver->cuMemsetD2D32Async(fill->address, fill->pitch, fill->value, fill->width, fill->height, stream);
    }
}

static enum result fill_memory(struct device *device, const struct fill *fill, struct stream *stream)
{
    if (fill->height == 1)
        return result_of(fill_run(&device->driver, fill, (CUstream)stream));
    return result_of(fill_rows(&device->driver, fill, (CUstream)stream));
}

/* --- streams and events --- */

static enum result stream_make(struct device *device, uint32_t flags, int32_t priority, struct stream **stream)
{
    CUstream made = NULL;
    CUresult result = device->driver.cuStreamCreateWithPriority(&made, flags, priority);
    *stream = (struct stream *)made;
    return result_of(result);
}

static void stream_end(struct device *device, struct stream *stream)
{
    device->driver.cuStreamDestroy_v2((CUstream)stream);
}

static enum result stream_query(struct device *device, struct stream *stream)
{
    return result_of(device->driver.cuStreamQuery((CUstream)stream));
}

static enum result stream_wait(struct device *device, struct stream *stream)
{
    return result_of(device->driver.cuStreamSynchronize((CUstream)stream));
}

static enum result wait_all(struct device *device)
{
    return result_of(device->driver.cuCtxSynchronize());
}

static enum result event_make(struct device *device, uint32_t flags, struct event **event)
{
    CUevent made = NULL;
    CUresult result = device->driver.cuEventCreate(&made, flags);
    *event = (struct event *)made;
    return result_of(result);
}

static void event_end(struct device *device, struct event *event)
{
    device->driver.cuEventDestroy_v2((CUevent)event);
}

static enum result event_record(struct device *device, struct event *event, struct stream *stream)
{
    return result_of(device->driver.cuEventRecord((CUevent)event, (CUstream)stream));
}

static enum result event_query(struct device *device, struct event *event)
{
    return result_of(device->driver.cuEventQuery((CUevent)event));
}

static enum result event_wait(struct device *device, struct event *event)
{
    return result_of(device->driver.cuEventSynchronize((CUevent)event));
}

static enum result event_elapsed(struct device *device, struct event *from, struct event *to, float *milliseconds)
{
    return result_of(device->driver.cuEventElapsedTime(milliseconds, (CUevent)from, (CUevent)to));
}

const struct backend cuda_backend = {
    .open = open_device, .enter = enter, .close = close_device,
    .allocate = allocate, .allocate_rows = allocate_rows, .free = free_memory, .pin = pin, .unpin = unpin,
    .copy_in = copy_in, .copy_out = copy_out, .copy_within = copy_within, .fill = fill_memory,
    .launch = launch_function,
    .independent = CU_STREAM_NON_BLOCKING, .stream_make = stream_make, .stream_end = stream_end,
    .stream_query = stream_query, .stream_wait = stream_wait, .wait = wait_all,
    .timed = CU_EVENT_DEFAULT, .untimed = CU_EVENT_DISABLE_TIMING, .event_make = event_make, .event_end = event_end,
    .event_record = event_record, .event_query = event_query, .event_wait = event_wait, .event_elapsed = event_elapsed,
};
