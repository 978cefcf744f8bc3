/* The shared memory of a session: a submission ring, reply slots and an arena for bulk data.
 *
 * The runtime produces records, the worker consumes them in order. Each thread that waits for an
 * answer holds a reply slot of its own, so answers may come in any order and need no flow control.
 * The arena has three parts: staging (data on its way to the device, a ring of its own), bounce (data
 * on its way back) and heap (the program's pinned memory). Memory that is all zero is a new ring.
 *
 * Neither side believes what the other can write: both compute the layout from the size that the
 * kernel tells, copy what they read before they check it, and check before they use it.
 */
#ifndef GPUPOOL_WIRE_RING_H
#define GPUPOOL_WIRE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_ALIGNMENT 64u
#define RING_BYTES (1u << 20)        /* of records; a power of two */
#define RING_RECORD_LIMIT (64u << 10) /* bytes of the largest record, its header included */
#define RING_SLOTS 64u
#define RING_SLOT_BYTES 4096u
#define RING_REPLY_LIMIT (RING_SLOT_BYTES - 16u) /* bytes of the largest reply */
#define RING_PAGE 4096u
#define RING_MINIMUM (4u << 20) /* bytes of the smallest shared memory */
#define RING_NO_SLOT 0xffffu
#define RING_PAD 0u /* the call number of a record that only fills the ring up to its end */

/* What every record starts with. */
struct record {
    uint32_t bytes; /* header and content, without the padding to RING_ALIGNMENT */
    uint16_t call;
    uint16_t slot;     /* where the answer goes, RING_NO_SLOT for a one-way call */
    uint32_t sequence; /* what the answer is marked with */
    uint32_t reserved;
};

struct slot {
    _Atomic uint32_t done; /* the sequence of the newest answer */
    _Atomic uint32_t sleeps;
    _Atomic uint32_t result; /* see result.h */
    _Atomic uint32_t bytes;  /* of data */
    unsigned char data[RING_REPLY_LIMIT];
};

struct ring_control {
    _Alignas(64) _Atomic uint32_t head; /* bytes ever written, modulo 2^32 */
    _Alignas(64) _Atomic uint32_t tail; /* bytes ever read, modulo 2^32 */
    _Alignas(64) _Atomic uint32_t consumer_sleeps;
    _Alignas(64) _Atomic uint32_t producer_sleeps;
    _Alignas(64) _Atomic uint64_t staging_released; /* staging bytes that may be written again */
};

_Static_assert(sizeof(struct record) == 16, "the record header is 16 bytes");
_Static_assert(sizeof(struct slot) == RING_SLOT_BYTES, "one slot is one page");
_Static_assert(sizeof(struct ring_control) <= RING_PAGE, "the control words fit one page");

/* One side's view of the shared memory. */
struct ring {
    size_t bytes;
    struct ring_control *control;
    struct slot *slots;
    unsigned char *records;
    unsigned char *arena;
    uint64_t arena_bytes;
    uint64_t staging_bytes; /* staging starts the arena */
    uint64_t bounce_at;     /* offset in the arena */
    uint64_t bounce_bytes;
    uint64_t heap_at;
    uint64_t heap_bytes;
    uint32_t position; /* producer: its head; consumer: its tail */
    uint32_t limit;    /* producer: the tail it last saw; consumer: the head it last saw */
    uint32_t published; /* consumer: the tail the producer was told */
};

/* Map `fd`; false with errno when it can't be mapped or is too small (EINVAL). */
bool ring_map(struct ring *ring, int fd);
void ring_unmap(struct ring *ring);

/* Whether bytes [offset, offset + bytes) lie in the arena. */
bool ring_in_arena(const struct ring *ring, uint64_t offset, uint64_t bytes);

/* --- producer; callers hold one lock over each of these --- */

/* Room for a record of `bytes` that does not wrap; NULL when the ring is full: then ring_wait_room
 * and try again. `bytes` is at most RING_RECORD_LIMIT. */
void *ring_reserve(struct ring *ring, uint32_t bytes);
/* Let the consumer see the record of `bytes` just reserved, and wake it if it sleeps. */
void ring_publish(struct ring *ring, uint32_t bytes);
/* Wait for room, at most `milliseconds`. */
void ring_wait_room(struct ring *ring, unsigned milliseconds);

/* --- consumer, one thread --- */

enum ring_status { RING_EMPTY, RING_RECORD, RING_BROKEN };

/* Copy the next record into `buffer` (RING_RECORD_LIMIT bytes) and step over it. RING_BROKEN when the
 * producer wrote what no producer writes: end the session. */
enum ring_status ring_take(struct ring *ring, struct record *buffer);
/* Let the producer use again what was taken. */
void ring_release(struct ring *ring);
/* Wait for a record, at most `nanoseconds`; first spinning for a few microseconds. */
void ring_wait_record(struct ring *ring, uint64_t nanoseconds);

/* --- replies --- */

/* Worker: answer `record` with `bytes` (at most RING_REPLY_LIMIT) of `data`; NULL: they are in the slot. */
void slot_answer(struct ring *ring, const struct record *record, uint32_t result, const void *data,
                 uint32_t bytes);
/* Runtime: whether the answer marked `sequence` came; waits at most `milliseconds`. */
bool slot_wait(struct slot *slot, uint32_t sequence, unsigned milliseconds);

#endif
