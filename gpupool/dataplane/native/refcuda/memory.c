#include "refcuda/memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "refcuda/context.h"
#include "refcuda/current.h"
#include "refcuda/driver.h"

enum { ALIGNMENT = 512 };

/* Every range of every device, by address; they never overlap. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct range *ranges;
static size_t count, capacity;
static uint64_t last_id;
static size_t used[MOST_DEVICES];          /* bytes, by ordinal */
static uintptr_t search_from[MOST_DEVICES]; /* where the last allocation ended */

static size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

/* The first range that begins after the address; the lock is held. */
static size_t position_after(uintptr_t address)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ranges[middle].base <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The lock is held. */
static struct range *find(uintptr_t address)
{
    size_t after = position_after(address);
    struct range *range = after ? &ranges[after - 1] : NULL;
    return range && address - range->base < range->size ? range : NULL;
}

/* The lock is held. */
static bool overlaps(uintptr_t base, size_t size)
{
    size_t after = position_after(base);
    return find(base) || (after < count && ranges[after].base - base < size);
}

/* The lock is held. */
static bool insert(struct range range)
{
    size_t position = position_after(range.base);
    if (count == capacity) {
        size_t larger = capacity ? capacity * 2 : 64;
        struct range *moved = realloc(ranges, larger * sizeof *moved);
        if (!moved)
            return false;
        ranges = moved;
        capacity = larger;
    }
    range.id = ++last_id;
    memmove(&ranges[position + 1], &ranges[position], (count - position) * sizeof *ranges);
    ranges[position] = range;
    count++;
    return true;
}

/* Whole pages of freed device memory go back to the system; under the lock, before anyone gets them again. */
static void discard(const struct range *range)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = round_up(range->base, page), end = (range->base + range->reserved) / page * page;
    if (first < end)
        madvise((void *)first, end - first, MADV_DONTNEED);
}

/* The lock is held. */
static struct range take(size_t position)
{
    struct range range = ranges[position];
    count--;
    memmove(&ranges[position], &ranges[position + 1], (count - position) * sizeof *ranges);
    if (range.kind == RANGE_DEVICE) {
        used[range.device->ordinal] -= range.reserved;
        discard(&range);
    }
    return range;
}

bool memory_find(uintptr_t address, struct range *out)
{
    struct range *range;
    pthread_mutex_lock(&lock);
    if ((range = find(address)))
        *out = *range;
    pthread_mutex_unlock(&lock);
    return range;
}

static bool within(const struct range *range, uintptr_t address, size_t size)
{
    return size <= range->size - (address - range->base);
}

static bool is_host_kind(enum range_kind kind)
{
    return kind == RANGE_PINNED || kind == RANGE_REGISTERED;
}

bool memory_is_device(uintptr_t address, size_t size)
{
    struct range range;
    return memory_find(address, &range) && !is_host_kind(range.kind) && within(&range, address, size);
}

bool memory_is_pinned(uintptr_t address, size_t size)
{
    struct range range;
    return memory_find(address, &range) && is_host_kind(range.kind) && within(&range, address, size);
}

static bool touches_arena(uintptr_t address, size_t size)
{
    bool touches = false;
    for (int i = 0; i < device_count() && !touches; i++) {
        struct device *device = device_find(i);
        pthread_mutex_lock(&device->lock);
        touches = device->arena && address < (uintptr_t)device->arena + device->arena_size &&
                  address + size > (uintptr_t)device->arena;
        pthread_mutex_unlock(&device->lock);
    }
    return touches;
}

bool memory_is_host(uintptr_t address, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = address / page * page;
    if (!address || address + size < address || touches_arena(address, size))
        return false;
    /* Says ENOMEM where nothing is mapped, and does nothing else. */
    return !msync((void *)first, round_up(address + size - first, page), MS_ASYNC);
}

/* A gap of the arena at or after `from`; 0 when there is none. The lock is held. */
static uintptr_t gap_after(const struct device *device, uintptr_t from, size_t size)
{
    uintptr_t end = (uintptr_t)device->arena + device->arena_size, at = from;
    for (size_t i = position_after(from - 1); end - at >= size; i++) {
        if (i == count || ranges[i].base >= end || ranges[i].base - at >= size)
            return at;
        at = ranges[i].base + ranges[i].reserved;
    }
    return 0;
}

/* The lock is held. */
static uintptr_t place(const struct device *device, size_t size)
{
    uintptr_t start = (uintptr_t)device->arena, from = search_from[device->ordinal], found;
    if (from < start || from > start + device->arena_size)
        from = start;
    found = gap_after(device, from, size);
    return found ? found : gap_after(device, start, size);
}

static CUresult reserve(struct context *context, struct range *range)
{
    struct device *device = context->device;
    size_t *taken = &used[device->ordinal];
    if (range->reserved > device->memory - *taken)
        return refuse(CUDA_ERROR_OUT_OF_MEMORY, "%zu bytes asked for, %zu free", range->size,
                      device->memory - *taken);
    if (!(range->base = place(device, range->reserved)) || !insert(*range))
        return CUDA_ERROR_OUT_OF_MEMORY;
    *taken += range->reserved;
    search_from[device->ordinal] = range->base + range->reserved;
    return CUDA_SUCCESS;
}

CUresult memory_allocate(struct context *context, size_t size, CUdeviceptr *address)
{
    struct range range = {.size = size, .kind = RANGE_DEVICE, .owner = context, .device = context->device,
                          .context = context->object.handle};
    CUresult result;
    if (!size)
        return refuse(CUDA_ERROR_INVALID_VALUE, "0 bytes asked for");
    if (size > context->device->memory)
        return refuse(CUDA_ERROR_OUT_OF_MEMORY, "%zu bytes asked for, the device has %zu", size,
                      context->device->memory);
    range.reserved = round_up(size, ALIGNMENT);
    pthread_mutex_lock(&lock);
    /* Once it has ended, what it owns is freed under this lock. */
    result = context->object.ended ? context_refusal(context) : reserve(context, &range);
    pthread_mutex_unlock(&lock);
    if (!result)
        *address = range.base;
    return result;
}

CUresult memory_add(const struct context *context, const struct range *wanted)
{
    struct range range = *wanted;
    CUresult result = CUDA_SUCCESS;
    range.reserved = range.size;
    range.owner = context;
    range.context = context->object.handle;
    range.device = context->device;
    pthread_mutex_lock(&lock);
    if (context->object.ended)
        result = context_refusal(context);
    else if (overlaps(range.base, range.size))
        result = CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
    else if (!insert(range))
        result = CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_unlock(&lock);
    return result;
}

bool memory_remove(enum range_kind kind, uintptr_t base, struct range *removed)
{
    struct range *range;
    bool found;
    pthread_mutex_lock(&lock);
    range = find(base);
    if ((found = range && range->base == base && range->kind == kind))
        *removed = take((size_t)(range - ranges));
    pthread_mutex_unlock(&lock);
    return found;
}

void memory_release(const struct range *range)
{
    if (range->kind == RANGE_PINNED)
        munmap((void *)range->base, range->size);
}

/* Variables of modules leave with their module, which may still be held by a call in another thread. */
static bool take_owned(const struct context *context, struct range *range)
{
    bool found = false;
    pthread_mutex_lock(&lock);
    for (size_t i = count; i-- > 0 && !found;)
        if (ranges[i].owner == context && ranges[i].kind != RANGE_VARIABLE) {
            *range = take(i);
            found = true;
        }
    pthread_mutex_unlock(&lock);
    return found;
}

void memory_free_owned(const struct context *context)
{
    struct range range;
    while (take_owned(context, &range))
        memory_release(&range);
}

size_t memory_used(const struct device *device)
{
    size_t bytes;
    pthread_mutex_lock(&lock);
    bytes = used[device->ordinal];
    pthread_mutex_unlock(&lock);
    return bytes;
}
