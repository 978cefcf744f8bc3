/* The ledger of one vGPU: what it may use, and what each of its sessions uses.
 *
 * One small file, mapped by every worker of the vGPU and read by the agent
 * (gpupool/dataplane/ledger.py holds the same layout). A worker writes its own slot, whose memory
 * is the whole truth about it, so nothing has to be repaired when a worker is killed; and, under a lock, the
 * timeline, which one killed in the middle leaves inexact for a moment of charging. A worker
 * taken over by its client can spoil the file, even cut it short: that ends or misleads the sessions of
 * its own vGPU, nothing else.
 */
#ifndef GPUPOOL_LEDGER_H
#define GPUPOOL_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "worker/timeline.h"

#define LEDGER_MAGIC 0x52474c47u /* "GLGR" */
#define LEDGER_VERSION 2u
#define LEDGER_SLOTS 64u

struct ledger_slot {
    _Atomic uint64_t memory;  /* bytes of device memory in use */
    _Atomic uint64_t busy_ns; /* device time ever used through this slot; never cleared */
    _Atomic uint32_t pid;     /* the worker, for people who look */
    uint32_t reserved[11];
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
    uint32_t reserved[8];
    struct ledger_slot slot[LEDGER_SLOTS];
    struct ledger_time time;
};

_Static_assert(sizeof(struct ledger_slot) == 64, "one slot is one cache line");
_Static_assert(sizeof(struct ledger_time) == 1024, "16 cache lines");
_Static_assert(sizeof(struct ledger_file) == 64 * (1 + LEDGER_SLOTS) + 1024, "the header is one too");

struct ledger;

/* Map the ledger behind `fd` as the worker that owns `slot`, whose memory becomes 0. Keeps `fd`; the
 * process must not open or close the same file again: its locks would go. Any thread may use the
 * result. NULL with errno: EINVAL for a slot or file that is no ledger's, EBUSY for a slot in use. */
struct ledger *ledger_open(int fd, unsigned slot);

/* Charge `bytes` of device memory to this session; false when the vGPU's limit does not hold them. */
bool ledger_take(struct ledger *ledger, uint64_t bytes);

/* Give back what ledger_take charged. */
void ledger_give(struct ledger *ledger, uint64_t bytes);

/* What cuMemGetInfo shows: the vGPU's limit, and what its sessions leave of it; in bytes. */
void ledger_memory(struct ledger *ledger, uint64_t *free_bytes, uint64_t *total_bytes);

/* The vGPU's share of its device in percent, 1 to 100, as of now. */
uint64_t ledger_compute(struct ledger *ledger);

/* Whether the agent is taking the vGPU away. */
bool ledger_lost(struct ledger *ledger);

/* Count device time of this session. */
void ledger_add_busy(struct ledger *ledger, uint64_t busy_ns);

/* The arbiter's state, locked against all sessions of the vGPU until it is unlocked. */
struct ledger_time *ledger_lock_time(struct ledger *ledger);
void ledger_unlock_time(struct ledger *ledger);

#endif
