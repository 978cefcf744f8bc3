#include "wire/ring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "wire/futex.h"

#define SPINS 400              /* some microseconds: more would take a core from who is waited for */
#define STAGING_MOST (16u << 20)
#define BOUNCE_MOST (8u << 20)
#define NS_PER_MS 1000000ull
#define RELEASE_EVERY (RING_BYTES / 8)

static uint32_t padded(uint32_t bytes)
{
    return (bytes + RING_ALIGNMENT - 1) & ~(RING_ALIGNMENT - 1);
}

static uint64_t at_most(uint64_t bytes, uint64_t most)
{
    return (bytes < most ? bytes : most) & ~(uint64_t)(RING_PAGE - 1);
}

static void lay_out(struct ring *ring, unsigned char *base)
{
    size_t records_at = RING_PAGE + sizeof(struct slot) * RING_SLOTS;
    ring->control = (struct ring_control *)base;
    ring->slots = (struct slot *)(base + RING_PAGE);
    ring->records = base + records_at;
    ring->arena = ring->records + RING_BYTES;
    ring->arena_bytes = (ring->bytes - records_at - RING_BYTES) & ~(uint64_t)(RING_PAGE - 1);
    ring->staging_bytes = at_most(ring->arena_bytes / 4, STAGING_MOST);
    ring->bounce_at = ring->staging_bytes;
    ring->bounce_bytes = at_most(ring->arena_bytes / 4, BOUNCE_MOST);
    ring->heap_at = ring->bounce_at + ring->bounce_bytes;
    ring->heap_bytes = ring->arena_bytes - ring->heap_at;
}

bool ring_map(struct ring *ring, int fd)
{
    /* fstat is no symbol of glibc's before 2.33. */
    off_t bytes = lseek(fd, 0, SEEK_END);
    memset(ring, 0, sizeof *ring);
    if (bytes < 0)
        return false;
    if (bytes < (off_t)RING_MINIMUM) {
        errno = EINVAL;
        return false;
    }
    ring->bytes = (size_t)bytes;
    void *base = mmap(NULL, ring->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return false;
    lay_out(ring, base);
    return true;
}

void ring_unmap(struct ring *ring)
{
    if (ring->control)
        munmap(ring->control, ring->bytes);
    ring->control = NULL;
}

bool ring_in_arena(const struct ring *ring, uint64_t offset, uint64_t bytes)
{
    return offset <= ring->arena_bytes && bytes <= ring->arena_bytes - offset;
}

static uint32_t room(const struct ring *ring)
{
    return RING_BYTES - (ring->position - ring->limit);
}

static bool has_room(struct ring *ring, uint32_t bytes)
{
    if (room(ring) >= bytes)
        return true;
    ring->limit = atomic_load_explicit(&ring->control->tail, memory_order_acquire);
    return room(ring) >= bytes && room(ring) <= RING_BYTES;
}

void *ring_reserve(struct ring *ring, uint32_t bytes)
{
    uint32_t needed = padded(bytes);
    uint32_t left = RING_BYTES - (ring->position & (RING_BYTES - 1));
    if (left < needed) {
        if (!has_room(ring, left + needed))
            return NULL;
        struct record pad = {.bytes = left, .call = RING_PAD, .slot = RING_NO_SLOT};
        memcpy(ring->records + (ring->position & (RING_BYTES - 1)), &pad, sizeof pad);
        ring->position += left;
    }
    if (!has_room(ring, needed))
        return NULL;
    return ring->records + (ring->position & (RING_BYTES - 1));
}

void ring_publish(struct ring *ring, uint32_t bytes)
{
    struct ring_control *control = ring->control;
    ring->position += padded(bytes);
    atomic_store_explicit(&control->head, ring->position, memory_order_release);
    /* Pairs with the consumer's: it announces its sleep, then looks at head once more. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&control->consumer_sleeps, memory_order_relaxed) &&
        atomic_exchange(&control->consumer_sleeps, 0))
        futex_wake(&control->head, 1);
}

void ring_wait_room(struct ring *ring, unsigned milliseconds)
{
    struct ring_control *control = ring->control;
    uint32_t seen = ring->limit;
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(&control->tail, memory_order_acquire) != seen)
            return;
        cpu_relax();
    }
    atomic_store(&control->producer_sleeps, 1);
    if (atomic_load(&control->tail) == seen)
        futex_wait(&control->tail, seen, milliseconds * NS_PER_MS);
    atomic_store(&control->producer_sleeps, 0);
}

/* Bytes the producer has written and we have not taken; more than RING_BYTES can't be. */
static uint32_t waiting(struct ring *ring)
{
    if (ring->limit == ring->position)
        ring->limit = atomic_load_explicit(&ring->control->head, memory_order_acquire);
    return ring->limit - ring->position;
}

enum ring_status ring_take(struct ring *ring, struct record *buffer)
{
    for (;;) {
        uint32_t there = waiting(ring);
        uint32_t offset = ring->position & (RING_BYTES - 1);
        if (there == 0)
            return RING_EMPTY;
        if (there > RING_BYTES || there % RING_ALIGNMENT != 0)
            return RING_BROKEN;
        memcpy(buffer, ring->records + offset, sizeof *buffer);
        if (buffer->bytes < sizeof *buffer || buffer->bytes > RING_BYTES - offset || padded(buffer->bytes) > there)
            return RING_BROKEN;
        ring->position += padded(buffer->bytes);
        if (buffer->call == RING_PAD)
            continue;
        if (buffer->bytes > RING_RECORD_LIMIT)
            return RING_BROKEN;
        memcpy(buffer + 1, ring->records + offset + sizeof *buffer, buffer->bytes - sizeof *buffer);
        if (ring->position - ring->published >= RELEASE_EVERY)
            ring_release(ring);
        return RING_RECORD;
    }
}

void ring_release(struct ring *ring)
{
    struct ring_control *control = ring->control;
    if (ring->published == ring->position)
        return;
    ring->published = ring->position;
    atomic_store(&control->tail, ring->position);
    if (atomic_load(&control->producer_sleeps))
        futex_wake(&control->tail, 1);
}

void ring_wait_record(struct ring *ring, uint64_t nanoseconds)
{
    struct ring_control *control = ring->control;
    uint32_t seen = ring->position;
    ring_release(ring);
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(&control->head, memory_order_acquire) != seen)
            return;
        cpu_relax();
    }
    atomic_store(&control->consumer_sleeps, 1);
    if (atomic_load(&control->head) == seen)
        futex_wait(&control->head, seen, nanoseconds);
    atomic_store(&control->consumer_sleeps, 0);
}

void slot_answer(struct ring *ring, const struct record *record, uint32_t result, const void *data,
                 uint32_t bytes)
{
    if (record->slot >= RING_SLOTS || bytes > RING_REPLY_LIMIT)
        return;
    struct slot *slot = &ring->slots[record->slot];
    if (data && bytes)
        memcpy(slot->data, data, bytes);
    atomic_store_explicit(&slot->result, result, memory_order_relaxed);
    atomic_store_explicit(&slot->bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&slot->done, record->sequence, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&slot->sleeps, memory_order_relaxed) && atomic_exchange(&slot->sleeps, 0))
        futex_wake(&slot->done, 1);
}

bool slot_wait(struct slot *slot, uint32_t sequence, unsigned milliseconds)
{
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(&slot->done, memory_order_acquire) == sequence)
            return true;
        cpu_relax();
    }
    atomic_store(&slot->sleeps, 1);
    uint32_t seen = atomic_load(&slot->done);
    if (seen != sequence)
        futex_wait(&slot->done, seen, milliseconds * NS_PER_MS);
    atomic_store(&slot->sleeps, 0);
    return atomic_load_explicit(&slot->done, memory_order_acquire) == sequence;
}
