/* The ledger of one vGPU: what it may use, and what each of its sessions uses.
 *
 * One small file: a header, one slot for each session that the vGPU may have, and the arbiter's state. Every
 * worker of the vGPU maps it and the agent reads it (gpupool/dataplane/ledger.py holds the same layout). A worker writes its own slot, whose memory
 * is the whole truth about it, so nothing has to be repaired when a worker is killed; and, under a lock, the
 * timeline, which one killed in the middle leaves inexact for a moment of charging. A worker
 * taken over by its client can spoil the file, even cut it short: that ends or misleads the sessions of
 * its own vGPU, nothing else.
 */
#ifndef GPUPOOL_LEDGER_H
#define GPUPOOL_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/timeline.h"

#define LEDGER_MAGIC 0x52474c47u /* "GLGR" */
#define LEDGER_VERSION 3u
#define LEDGER_VERSION_OLDEST 2u /* differs only in having 64 slots always, and 0 where host memory is counted */
#define LEDGER_SLOTS_MAX 1024u

struct ledger_slot {
    _Atomic uint64_t memory;  /* bytes of device memory in use */
    _Atomic uint64_t busy_ns; /* device time ever used through this slot; never cleared */
    _Atomic uint32_t pid;     /* the worker, for people who look */
    uint32_t reserved0;
    _Atomic uint64_t host_memory; /* bytes of the host's memory that the session is charged for */
    _Atomic uint64_t in_flight_ns; /* since when it has device work that is not charged yet, CLOCK_MONOTONIC; 0: none */
    _Atomic uint64_t ended_ns;     /* when the agent saw its worker dead with such work */
    uint32_t reserved[4];
};

/* The arbiter's, of all sessions; of this boot. Changed under the ledger's lock. */
struct ledger_time {
    int64_t debt_ns;     /* device time used beyond the share (below 0: time that may be made up for) ... */
    uint64_t debt_at_ns; /* ... at this CLOCK_MONOTONIC */
    struct timeline busy;
};

struct ledger_file {
    uint32_t magic;
    uint32_t version;
    uint32_t slots;
    _Atomic uint32_t lost;         /* not 0: the vGPU is being taken away */
    _Atomic uint64_t memory_limit; /* bytes */
    _Atomic uint32_t compute;      /* percent of the device, 1 to 100 */
    uint32_t reserved0;
    _Atomic uint64_t host_limit; /* bytes of the host's memory; 0: as much as there is */
    _Atomic uint32_t frozen;     /* not 0: work waits */
    uint32_t reserved[5];
    struct ledger_slot slot[]; /* `slots` of them, then struct ledger_time */
};

static inline size_t ledger_size(uint32_t slots)
{
    return sizeof(struct ledger_file) + slots * sizeof(struct ledger_slot) + sizeof(struct ledger_time);
}

_Static_assert(sizeof(struct ledger_slot) == 64, "one slot is one cache line");
_Static_assert(sizeof(struct ledger_time) == 1024, "16 cache lines");
_Static_assert(sizeof(struct ledger_file) == 64, "the header is one too");

struct ledger;

/* Map the ledger behind `fd` as the worker that owns `slot`, whose memory becomes 0. Keeps `fd`; the
 * process must not open or close the same file again: its locks would go. Any thread may use the
 * result. NULL with errno: EINVAL for a slot or file that is no ledger's, EBUSY for a slot in use. */
struct ledger *ledger_open(int fd, unsigned slot);

/* Charge `bytes` of device memory to this session; false when the vGPU's limit does not hold them. */
bool ledger_take(struct ledger *ledger, uint64_t bytes);

/* Give back what ledger_take charged. */
void ledger_give(struct ledger *ledger, uint64_t bytes);

/* The same for memory of the host that the worker takes on the client's behalf. */
bool ledger_take_host(struct ledger *ledger, uint64_t bytes);
void ledger_give_host(struct ledger *ledger, uint64_t bytes);

/* What cuMemGetInfo shows: the vGPU's limit, and what its sessions leave of it; in bytes. */
void ledger_memory(struct ledger *ledger, uint64_t *free_bytes, uint64_t *total_bytes);

/* The vGPU's share of its device in percent, 1 to 100, as of now. */
uint64_t ledger_compute(struct ledger *ledger);

/* Whether the vGPU's work waits until it is thawed. */
bool ledger_frozen(struct ledger *ledger);

/* Whether the agent is taking the vGPU away. */
bool ledger_lost(struct ledger *ledger);

/* Count device time of this session. */
void ledger_add_busy(struct ledger *ledger, uint64_t busy_ns);

/* Say since when (CLOCK_MONOTONIC, ns) this session has device work that is not charged yet; 0: it has none. A worker
 * can be killed at any time, and who charges for it then has to know. */
void ledger_set_in_flight(struct ledger *ledger, uint64_t since_ns);

/* Take uncharged work of a worker that was killed off the books: from when to when. False when there is none left. To be
 * called before this session has work in flight. */
bool ledger_abandoned(struct ledger *ledger, uint64_t *from_ns, uint64_t *to_ns);

/* The arbiter's state, locked against all sessions of the vGPU until it is unlocked. */
struct ledger_time *ledger_lock_time(struct ledger *ledger);
void ledger_unlock_time(struct ledger *ledger);

#endif
