/* The cuMemset functions: device memory filled with a value of 1, 2 or 4 bytes, in a stream's order. */
#include <stdlib.h>
#include <string.h>

#include "refcuda/api.h"
#include "refcuda/driver.h"
#include "refcuda/memory.h"
#include "refcuda/queue.h"
#include "refcuda/stream.h"
#include "refcuda/thread.h"

struct fill {
    struct work work;
    char *to;
    size_t pitch, width, height; /* bytes, elements, rows */
    unsigned size;               /* bytes of an element */
    uint32_t value;
};

static void fill_row(char *row, const struct fill *fill)
{
    if (fill->size == 1)
        memset(row, (int)fill->value, fill->width);
    else
        for (size_t i = 0; i < fill->width; i++)
            memcpy(row + i * fill->size, &fill->value, fill->size);
}

static CUresult fill_run(struct work *work)
{
    const struct fill *fill = (const struct fill *)work;
    for (size_t row = 0; row < fill->height; row++)
        fill_row(fill->to + row * fill->pitch, fill);
    return CUDA_SUCCESS;
}

static void fill_dispose(struct work *work)
{
    free(work);
}

/* Within one range, aligned to an element, rows that do not overlap. */
static CUresult check(const struct fill *fill)
{
    uintptr_t address = (uintptr_t)fill->to;
    size_t bytes, size;
    if (__builtin_mul_overflow(fill->width, fill->size, &bytes) ||
        __builtin_mul_overflow(fill->height - 1, fill->pitch, &size) || __builtin_add_overflow(size, bytes, &size) ||
        (fill->height > 1 && fill->pitch < bytes))
        return refuse(CUDA_ERROR_INVALID_VALUE, "a pitch of %zu bytes for %zu rows of %zu elements", fill->pitch,
                      fill->height, fill->width);
    if (address % fill->size || (fill->height > 1 && fill->pitch % fill->size))
        return refuse(CUDA_ERROR_INVALID_VALUE, "%p is not aligned to %u bytes", (void *)fill->to, fill->size);
    if (!memory_is_device(address, size) && !memory_is_pinned(address, size))
        return refuse(CUDA_ERROR_INVALID_VALUE, "%zu bytes at %p are not device memory", size, (void *)fill->to);
    return CUDA_SUCCESS;
}

/* On pinned host memory the program waits, as on a device. */
static CUresult submit(enum null_stream null, CUstream handle, const struct fill *wanted, bool wait_if_pinned)
{
    HELD struct stream *stream = NULL;
    struct fill *fill;
    CUresult result = stream_acquire(handle, null, &stream);
    if (result || !wanted->width || !wanted->height)
        return result;
    if ((result = check(wanted)))
        return result;
    if (!(fill = malloc(sizeof *fill)))
        return CUDA_ERROR_OUT_OF_MEMORY;
    *fill = *wanted;
    fill->work = (struct work){.run = fill_run, .dispose = fill_dispose};
    if (wait_if_pinned && !memory_is_device((uintptr_t)fill->to, 1))
        return stream_run(stream, &fill->work);
    return stream_submit(stream, &fill->work, NULL);
}

static struct fill filling(CUdeviceptr to, size_t pitch, uint32_t value, unsigned size, size_t width, size_t height)
{
    return (struct fill){.to = (char *)(uintptr_t)to, .pitch = pitch, .value = value, .size = size, .width = width,
                         .height = height};
}

/* The four functions of an element type, each with its twin. */
#define FILLS(bits, type)                                                                                         \
    static CUresult fill_##bits(enum null_stream null, CUdeviceptr to, type value, size_t number)                 \
    {                                                                                                             \
        struct fill fill = filling(to, 0, value, bits / 8, number, 1);                                            \
        return submit(null, NULL, &fill, true);                                                                   \
    }                                                                                                             \
    TWIN(cuMemsetD##bits##_v2, _ptds, fill_##bits, (CUdeviceptr to, type value, size_t number), to, value, number) \
    static CUresult fill_##bits##_async(enum null_stream null, CUdeviceptr to, type value, size_t number,         \
                                        CUstream stream)                                                          \
    {                                                                                                             \
        struct fill fill = filling(to, 0, value, bits / 8, number, 1);                                            \
        return submit(null, stream, &fill, false);                                                                \
    }                                                                                                             \
    TWIN(cuMemsetD##bits##Async, _ptsz, fill_##bits##_async,                                                      \
         (CUdeviceptr to, type value, size_t number, CUstream stream), to, value, number, stream)                 \
    static CUresult fill_2d_##bits(enum null_stream null, CUdeviceptr to, size_t pitch, type value, size_t width, \
                                   size_t height)                                                                 \
    {                                                                                                             \
        struct fill fill = filling(to, pitch, value, bits / 8, width, height);                                    \
        return submit(null, NULL, &fill, true);                                                                   \
    }                                                                                                             \
    TWIN(cuMemsetD2D##bits##_v2, _ptds, fill_2d_##bits,                                                           \
         (CUdeviceptr to, size_t pitch, type value, size_t width, size_t height), to, pitch, value, width, height) \
    static CUresult fill_2d_##bits##_async(enum null_stream null, CUdeviceptr to, size_t pitch, type value,       \
                                           size_t width, size_t height, CUstream stream)                          \
    {                                                                                                             \
        struct fill fill = filling(to, pitch, value, bits / 8, width, height);                                    \
        return submit(null, stream, &fill, false);                                                                \
    }                                                                                                             \
    TWIN(cuMemsetD2D##bits##Async, _ptsz, fill_2d_##bits##_async,                                                 \
         (CUdeviceptr to, size_t pitch, type value, size_t width, size_t height, CUstream stream), to, pitch,     \
         value, width, height, stream)

FILLS(8, unsigned char)
FILLS(16, unsigned short)
FILLS(32, unsigned int)

ALSO(cuMemsetD8, cuMemsetD8_v2)
ALSO(cuMemsetD2D8, cuMemsetD2D8_v2)
ALSO(cuMemsetD16, cuMemsetD16_v2)
ALSO(cuMemsetD2D16, cuMemsetD2D16_v2)
ALSO(cuMemsetD32, cuMemsetD32_v2)
ALSO(cuMemsetD2D32, cuMemsetD2D32_v2)
