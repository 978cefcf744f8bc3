/* Work is done when the call returns: streams have nothing to wait for, and an event is a time. */
#include "device.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "gpupool_messages.h"
#include "wire/ranges.h"
#include "wire/ring.h"

#define MEMORY (1ull << 30) /* bytes */
#define ALIGNMENT 512u

struct device {
    uint64_t start; /* of its memory */
    struct ranges allocations;
};

struct stream {
    uint32_t flags;
};

struct event {
    struct timespec reached;
};

static enum result open_device(const char *library, int ordinal, struct device **device, char *why, size_t room)
{
    static struct device opened;
    (void)library;
    void *memory = mmap(NULL, 2 * MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ordinal || memory == MAP_FAILED) {
        snprintf(why, room, "device %d is not there", ordinal);
        return RESULT_INVALID_DEVICE;
    }
    opened.start = ((uintptr_t)memory + MEMORY - 1) / MEMORY * MEMORY;
    *device = &opened;
    return RESULT_OK;
}

static void enter(struct device *device)
{
    (void)device;
}

static void close_device(struct device *device)
{
    ranges_clear(&device->allocations);
}

/* --- memory: first fit --- */

static enum result allocate(struct device *device, uint64_t bytes, uint64_t *address)
{
    uint64_t at = device->start, end = at + MEMORY;
    for (size_t index = 0; index < device->allocations.count; index++) {
        const struct range *taken = &device->allocations.items[index];
        if (taken->start - at >= bytes)
            break;
        at = (taken->start + taken->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    if (end - at < bytes || !ranges_add(&device->allocations, (struct range){.start = at, .bytes = bytes}))
        return RESULT_OUT_OF_MEMORY;
    *address = at;
    return RESULT_OK;
}

static enum result allocate_rows(struct device *device, uint64_t width, uint64_t height, uint32_t element_bytes,
                                 uint64_t *address, uint64_t *pitch)
{
    (void)element_bytes;
    *pitch = (width + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return allocate(device, *pitch * height, address);
}

static enum result free_memory(struct device *device, uint64_t address)
{
    struct range removed;
    return ranges_remove(&device->allocations, address, &removed) ? RESULT_OK : RESULT_INVALID_VALUE;
}

static void pin(struct device *device, void *memory, uint64_t bytes)
{
    (void)device, (void)memory, (void)bytes;
}

static void unpin(struct device *device, void *memory)
{
    (void)device, (void)memory;
}

/* --- work --- */

static enum result copy_in(struct device *device, uint64_t to, const void *from, uint64_t bytes, struct stream *stream)
{
    (void)device, (void)stream;
    memcpy((void *)to, from, bytes);
    return RESULT_OK;
}

static enum result copy_out(struct device *device, void *to, uint64_t from, uint64_t bytes, struct stream *stream)
{
    (void)device, (void)stream;
    memcpy(to, (void *)from, bytes);
    return RESULT_OK;
}

static enum result copy_within(struct device *device, uint64_t to, uint64_t from, uint64_t bytes,
                               struct stream *stream)
{
    (void)device, (void)stream;
    memmove((void *)to, (void *)from, bytes);
    return RESULT_OK;
}

static enum result fill(struct device *device, const struct fill *fill, struct stream *stream)
{
    (void)device, (void)stream;
    for (uint64_t row = 0; row < fill->height; row++)
        for (uint64_t column = 0; column < fill->width; column++)
            memcpy((void *)(fill->address + row * fill->pitch + column * fill->element_bytes), &fill->value,
                   fill->element_bytes);
    return RESULT_OK;
}

static enum result launch(struct device *device, void *function, const struct record *record, struct stream *stream)
{
    const struct launch_request *request = (const void *)(record + 1);
    const struct host_function *known = function;
    (void)device, (void)stream;
    if (request->parameter_bytes != known->parameter_bytes ||
        record->bytes != sizeof *record + sizeof *request + known->parameter_bytes)
        return RESULT_INVALID_VALUE;
    known->run((const unsigned char *)(request + 1));
    return RESULT_OK;
}

/* --- streams and events --- */

static enum result stream_make(struct device *device, uint32_t flags, int32_t priority, struct stream **stream)
{
    (void)device, (void)priority;
    *stream = calloc(1, sizeof **stream);
    if (!*stream)
        return RESULT_OUT_OF_MEMORY;
    (*stream)->flags = flags;
    return RESULT_OK;
}

static void stream_end(struct device *device, struct stream *stream)
{
    (void)device;
    free(stream);
}

static enum result stream_done(struct device *device, struct stream *stream)
{
    (void)device, (void)stream;
    return RESULT_OK;
}

static enum result done(struct device *device)
{
    (void)device;
    return RESULT_OK;
}

static enum result event_make(struct device *device, uint32_t flags, struct event **event)
{
    (void)device, (void)flags;
    *event = calloc(1, sizeof **event);
    return *event ? RESULT_OK : RESULT_OUT_OF_MEMORY;
}

static void event_end(struct device *device, struct event *event)
{
    (void)device;
    free(event);
}

static enum result event_record(struct device *device, struct event *event, struct stream *stream)
{
    (void)device, (void)stream;
    clock_gettime(CLOCK_MONOTONIC, &event->reached);
    return RESULT_OK;
}

static enum result event_done(struct device *device, struct event *event)
{
    (void)device, (void)event;
    return RESULT_OK;
}

static enum result event_elapsed(struct device *device, struct event *from, struct event *to, float *milliseconds)
{
    (void)device;
    *milliseconds = (float)(to->reached.tv_sec - from->reached.tv_sec) * 1e3f +
                    (float)(to->reached.tv_nsec - from->reached.tv_nsec) / 1e6f;
    return RESULT_OK;
}

const struct backend host_backend = {
    .open = open_device, .enter = enter, .close = close_device,
    .allocate = allocate, .allocate_rows = allocate_rows, .free = free_memory, .pin = pin, .unpin = unpin,
    .copy_in = copy_in, .copy_out = copy_out, .copy_within = copy_within, .fill = fill, .launch = launch,
    .stream_make = stream_make, .stream_end = stream_end, .stream_query = stream_done, .stream_wait = stream_done,
    .wait = done, .event_make = event_make, .event_end = event_end, .event_record = event_record,
    .event_query = event_done, .event_wait = event_done, .event_elapsed = event_elapsed,
};
