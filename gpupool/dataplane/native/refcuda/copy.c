#include "refcuda/copy.h"

#include <stdlib.h>
#include <string.h>

#include "refcuda/driver.h"
#include "refcuda/memory.h"
#include "refcuda/queue.h"
#include "refcuda/thread.h"

/* Up to this size an asynchronous copy from pageable memory takes its bytes along; a larger one is waited for. */
enum { LARGEST_STAGED = 64 << 10 };

struct copy {
    struct work work;
    struct rows rows;
    char staged[]; /* the bytes, when they were taken along */
};

static CUresult copy_run(struct work *work)
{
    const struct rows *rows = &((struct copy *)work)->rows;
    for (size_t row = 0; row < rows->height; row++)
        memmove((char *)rows->to.address + row * rows->to.pitch,
                (const char *)rows->from.address + row * rows->from.pitch, rows->width);
    return CUDA_SUCCESS;
}

static void copy_dispose(struct work *work)
{
    free(work);
}

/* The bytes from the first to the last; false when that is more than an address can say. */
static bool extent(const struct end *end, size_t width, size_t height, size_t *size)
{
    *size = 0;
    return (height == 1 || end->pitch >= width) && !__builtin_mul_overflow(height - 1, end->pitch, size) &&
           !__builtin_add_overflow(*size, width, size);
}

/* `pageable`: host memory that the program may change or free as soon as the call returns. */
static CUresult check(const struct rows *rows, const struct end *end, const char *name, bool *pageable)
{
    static const char *const sides[] = {"host", "device", "host or device"};
    size_t size;
    *pageable = false;
    if (!extent(end, rows->width, rows->height, &size))
        return refuse(CUDA_ERROR_INVALID_VALUE, "%s: a pitch of %zu bytes for %zu rows of %zu", name, end->pitch,
                      rows->height, rows->width);
    if (end->side != SIDE_HOST && memory_is_device(end->address, size))
        return CUDA_SUCCESS;
    if (end->side != SIDE_DEVICE && memory_is_pinned(end->address, size))
        return CUDA_SUCCESS;
    if (end->side != SIDE_DEVICE && (*pageable = memory_is_host(end->address, size)))
        return CUDA_SUCCESS;
    return refuse(CUDA_ERROR_INVALID_VALUE, "%s: %zu bytes at %#lx are not %s memory", name, size,
                  (unsigned long)end->address, sides[end->side]);
}

static struct copy *copy_new(const struct rows *rows, size_t staged)
{
    struct copy *copy = malloc(sizeof *copy + staged);
    if (!copy)
        return NULL;
    copy->work = (struct work){.run = copy_run, .dispose = copy_dispose};
    copy->rows = *rows;
    return copy;
}

/* Packs the rows behind the copy, which then reads them from there. */
static void stage(struct copy *copy)
{
    struct rows *rows = &copy->rows;
    for (size_t row = 0; row < rows->height; row++)
        memcpy(copy->staged + row * rows->width, (const char *)rows->from.address + row * rows->from.pitch,
               rows->width);
    rows->from = (struct end){SIDE_HOST, (uintptr_t)copy->staged, rows->width};
}

static CUresult submit(struct stream *stream, const struct rows *rows, bool stages, enum copy_mode mode)
{
    struct copy *copy = copy_new(rows, stages ? rows->width * rows->height : 0);
    if (!copy)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (stages)
        stage(copy);
    return mode == COPY_ASYNC ? stream_submit(stream, &copy->work, NULL) : stream_run(stream, &copy->work);
}

CUresult copy_rows(enum null_stream null, CUstream handle, const struct rows *rows, enum copy_mode mode)
{
    HELD struct stream *stream = NULL;
    bool to_pageable, from_pageable, small;
    CUresult result = stream_acquire(handle, null, &stream);
    if (result || !rows->width || !rows->height)
        return result;
    if ((result = check(rows, &rows->to, "destination", &to_pageable)) ||
        (result = check(rows, &rows->from, "source", &from_pageable)))
        return result;
    small = rows->width <= LARGEST_STAGED / rows->height;
    if (to_pageable || (from_pageable && !small))
        mode = COPY_AND_WAIT;
    return submit(stream, rows, from_pageable && mode == COPY_ASYNC, mode);
}
