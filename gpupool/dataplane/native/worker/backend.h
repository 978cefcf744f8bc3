/* What a session needs of its device. Each kind of device is one table of these functions; session, limits and the end
 * of a session know no other way to it.
 *
 * Results are gpupool's own or numbers of the device's library, which the program gets unread: RESULT_NOT_READY alone
 * means something here. Streams and events are the backend's: NULL is the default stream. */
#ifndef GPUPOOL_WORKER_BACKEND_H
#define GPUPOOL_WORKER_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#include "wire/result.h"

struct device;
struct stream;
struct event;
struct record;

/* Rows of elements of 1, 2 or 4 bytes. */
struct fill {
    uint64_t address, pitch, width, height; /* pitch in bytes, width in elements */
    uint32_t value, element_bytes;
};

struct backend {
    /* Open a device of a library; on failure `why` gets the reason. The thread may call the device from then on. */
    enum result (*open)(const char *library, int ordinal, struct device **device, char *why, size_t room);
    /* Let any other thread call the device. */
    void (*enter)(struct device *device);
    void (*close)(struct device *device);

    enum result (*allocate)(struct device *device, uint64_t bytes, uint64_t *address);
    /* `width` bytes a row; the device chooses how many bytes further the next one starts. */
    enum result (*allocate_rows)(struct device *device, uint64_t width, uint64_t height, uint32_t element_bytes,
                                 uint64_t *address, uint64_t *pitch);
    enum result (*free)(struct device *device, uint64_t address);

    /* Put work on a stream. Of pageable memory a copy in has taken the bytes when it returns. */
    enum result (*copy_in)(struct device *device, uint64_t to, const void *from, uint64_t bytes, struct stream *stream);
    enum result (*copy_out)(struct device *device, void *to, uint64_t from, uint64_t bytes, struct stream *stream);
    enum result (*copy_within)(struct device *device, uint64_t to, uint64_t from, uint64_t bytes,
                               struct stream *stream);
    enum result (*fill)(struct device *device, const struct fill *fill, struct stream *stream);
    /* `function` is what the handle table has; `record` holds a launch_request and what follows it. */
    enum result (*launch)(struct device *device, void *function, const struct record *record,
                          struct stream *stream);
    /* Host memory that the device reads and writes all the time. A device that can't pin works all the same. */
    void (*pin)(struct device *device, void *memory, uint64_t bytes);
    void (*unpin)(struct device *device, void *memory);

    /* Flags and priority are the library's; `independent` makes a stream that waits for no other. */
    uint32_t independent;
    enum result (*stream_make)(struct device *device, uint32_t flags, int32_t priority, struct stream **stream);
    void (*stream_end)(struct device *device, struct stream *stream);
    enum result (*stream_query)(struct device *device, struct stream *stream);
    enum result (*stream_wait)(struct device *device, struct stream *stream);
    /* Wait for all streams. */
    enum result (*wait)(struct device *device);

    /* Events mark a place in a stream; those with the flags `timed` also when it was reached, those with `untimed` not. */
    uint32_t timed, untimed;
    enum result (*event_make)(struct device *device, uint32_t flags, struct event **event);
    void (*event_end)(struct device *device, struct event *event);
    enum result (*event_record)(struct device *device, struct event *event, struct stream *stream);
    enum result (*event_query)(struct device *device, struct event *event);
    enum result (*event_wait)(struct device *device, struct event *event);
    enum result (*event_elapsed)(struct device *device, struct event *from, struct event *to, float *milliseconds);
};

#endif
