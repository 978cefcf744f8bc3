/* Pinned host memory: blocks of the arena's heap, which the device reads and writes with no copy; plain
 * memory when that is full. Registered memory stays where it is and is copied as any other. */
#include "runtime/cuda/host.h"

#include <stdlib.h>
#include <string.h>

#include "gpupool_calls.h"
#include "gpupool_messages.h"
#include "runtime/cuda/call.h"
#include "runtime/process.h"
#include "wire/cuda/result.h"

/* All blocks of the process, by address; owner packs kind, flags and ordinal. */
static struct {
    pthread_mutex_t lock;
    struct ranges blocks;
} host = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t pack(enum host_kind kind, unsigned flags, int ordinal)
{
    return (uint64_t)kind << 56 | (uint64_t)(flags & 0xff) << 32 | (uint32_t)ordinal;
}

static struct host_block unpack(const struct range *range)
{
    return (struct host_block){
        .start = range->start, .bytes = range->bytes,
        .kind = (enum host_kind)(range->owner >> 56),
        .flags = (unsigned)(range->owner >> 32) & 0xff,
        .ordinal = (int)(uint32_t)range->owner,
    };
}

void host_lock(void)
{
    pthread_mutex_lock(&host.lock);
}

void host_unlock(void)
{
    pthread_mutex_unlock(&host.lock);
}

void host_forget(void)
{
    ranges_clear(&host.blocks);
}

static bool add_block(const void *start, size_t bytes, uint64_t owner)
{
    struct range range = {.start = (uintptr_t)start, .bytes = bytes, .owner = owner};
    pthread_mutex_lock(&host.lock);
    bool added = ranges_add(&host.blocks, range);
    pthread_mutex_unlock(&host.lock);
    return added;
}

bool host_find(uint64_t address, struct host_block *block)
{
    pthread_mutex_lock(&host.lock);
    const struct range *range = ranges_find(&host.blocks, address, 1);
    if (range)
        *block = unpack(range);
    pthread_mutex_unlock(&host.lock);
    return range;
}

bool host_offset(const struct session *session, const void *pointer, size_t bytes, uint64_t *offset)
{
    uintptr_t heap = (uintptr_t)session->ring.arena + session->ring.heap_at, address = (uintptr_t)pointer;
    if (address < heap || address - heap > session->ring.heap_bytes ||
        bytes > session->ring.heap_bytes - (address - heap))
        return false;
    *offset = address - (uintptr_t)session->ring.arena;
    return true;
}

/* --- the heap: first fit between the blocks there are --- */

static uint64_t whole_pages(uint64_t bytes)
{
    return (bytes + RING_PAGE - 1) & ~(uint64_t)(RING_PAGE - 1);
}

/* An arena offset with `bytes` free behind it; 0 when there is none. The table lock is held. */
static uint64_t find_gap(const struct session *session, uint64_t bytes)
{
    uint64_t at = session->ring.heap_at, end = at + session->ring.heap_bytes;
    for (size_t index = 0; index < session->heap.count; index++) {
        const struct range *block = &session->heap.items[index];
        if (block->start - at >= bytes)
            return at;
        at = block->start + block->bytes;
    }
    return end - at >= bytes ? at : 0;
}

static void *heap_take(struct session *session, size_t size)
{
    uint64_t bytes = whole_pages(size), offset = 0;
    if (bytes < size || bytes > session->ring.heap_bytes)
        return NULL;
    pthread_mutex_lock(&session->table_lock);
    offset = find_gap(session, bytes);
    if (offset && !ranges_add(&session->heap, (struct range){.start = offset, .bytes = bytes}))
        offset = 0;
    pthread_mutex_unlock(&session->table_lock);
    if (!offset)
        return NULL;
    struct host_register_request message = {.offset = offset, .bytes = bytes};
    struct bytes request = {&message, sizeof message}, none = {NULL, 0};
    session_send(session, CALL_host_register, request, none);
    return session->ring.arena + offset;
}

/* Wait until the device uses no pinned memory. The first answer may be an earlier call's error, so one
 * that is no success proves nothing and is asked for again. */
static CUresult settle(struct session *session, CUresult *told)
{
    struct bytes none = {NULL, 0};
    size_t got;
    *told = cuda_result(session_ask(session, CALL_cuCtxSynchronize, none, none, NULL, 0, &got));
    if (*told == CUDA_SUCCESS)
        return *told;
    return cuda_result(session_ask(session, CALL_cuCtxSynchronize, none, none, NULL, 0, &got));
}

/* The device may still use the block, so its work must be done first; while that can't be known, the block
 * is given to nobody else. Returns the error that came to light. */
static CUresult heap_give(struct session *session, uint64_t address)
{
    uint64_t offset = address - (uintptr_t)session->ring.arena;
    struct host_unregister_request message = {.offset = offset};
    struct bytes request = {&message, sizeof message}, none = {NULL, 0};
    struct range removed;
    CUresult told;
    if (settle(session, &told) != CUDA_SUCCESS)
        return told;
    session_send(session, CALL_host_unregister, request, none);
    pthread_mutex_lock(&session->table_lock);
    ranges_remove(&session->heap, offset, &removed);
    pthread_mutex_unlock(&session->table_lock);
    return told;
}

/* --- calls --- */

CUresult runtime_cuMemHostAlloc(void **pp, size_t bytesize, unsigned int Flags)
{
    struct call call = {0};
    if (!pp || !bytesize || Flags & ~7u)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = call_session(&call);
    if (result != CUDA_SUCCESS)
        return result;
    enum host_kind kind = HOST_ARENA;
    void *memory = heap_take(call.session, bytesize);
    if (!memory) {
        kind = HOST_PLAIN;
        memory = aligned_alloc(RING_PAGE, whole_pages(bytesize));
    }
    if (!memory)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (add_block(memory, bytesize, pack(kind, Flags, call.session->ordinal))) {
        *pp = memory;
        return CUDA_SUCCESS;
    }
    if (kind == HOST_ARENA)
        heap_give(call.session, (uintptr_t)memory);
    else
        free(memory);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

/* Take a block of one of two kinds off the books. */
static bool remove_block(const void *p, enum host_kind one, enum host_kind other, struct host_block *block)
{
    struct range removed;
    pthread_mutex_lock(&host.lock);
    const struct range *range = ranges_find(&host.blocks, (uintptr_t)p, 1);
    bool right = false;
    if (range) {
        *block = unpack(range);
        right = (block->kind == one || block->kind == other) && ranges_remove(&host.blocks, (uintptr_t)p, &removed);
    }
    pthread_mutex_unlock(&host.lock);
    return right;
}

CUresult runtime_cuMemFreeHost(void *p)
{
    struct host_block block;
    if (!p)
        return CUDA_SUCCESS;
    if (!remove_block(p, HOST_ARENA, HOST_PLAIN, &block))
        return CUDA_ERROR_INVALID_VALUE;
    if (block.kind == HOST_PLAIN) {
        free(p);
        return CUDA_SUCCESS;
    }
    struct session *session = process_opened(block.ordinal);
    return session ? heap_give(session, block.start) : CUDA_SUCCESS;
}

CUresult runtime_cuMemHostRegister_v2(void *p, size_t bytesize, unsigned int Flags)
{
    struct call call = {0};
    if (!p || !bytesize || Flags & ~15u)
        return CUDA_ERROR_INVALID_VALUE;
    if (Flags & CU_MEMHOSTREGISTER_IOMEMORY)
        return CUDA_ERROR_NOT_SUPPORTED;
    CUresult result = call_session(&call);
    if (result != CUDA_SUCCESS)
        return result;
    bool added = add_block(p, bytesize, pack(HOST_REGISTERED, Flags, call.session->ordinal));
    return added ? CUDA_SUCCESS : CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
}

CUresult runtime_cuMemHostUnregister(void *p)
{
    struct host_block block;
    if (!p)
        return CUDA_ERROR_INVALID_VALUE;
    if (!remove_block(p, HOST_REGISTERED, HOST_REGISTERED, &block))
        return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
    return CUDA_SUCCESS;
}

