/* The gate in front of the device: keeps the busy time of a vGPU at its share of wall time.
 *
 * All sessions of a vGPU share one gate, which lies in its ledger. Work is admitted, then its measured
 * device time is charged; a charge closes the gate until the share has caught up with it.
 */
#ifndef GPUPOOL_ARBITER_H
#define GPUPOOL_ARBITER_H

#include <stdint.h>

#include "worker/device_state.h"
#include "worker/ledger.h"

struct arbiter;

/* A gate over `ledger` and what the device's workers read, which must outlive it (NULL: nothing); NULL when there is no
 * memory. Charges what sessions had in flight when their
 * workers were killed. */
struct arbiter *arbiter_new(struct ledger *ledger, const struct device_state *device);

/* Whether work waits until the vGPU and its device are thawed. Not once the vGPU is being taken away. */
bool arbiter_frozen(const struct arbiter *arbiter);

/* How long no submission is allowed, in ns, 0: one is now. The share always allows it at 100 %, and all is allowed once
 * the vGPU is being taken away. At most 20 ms, since the share may change meanwhile. */
uint64_t arbiter_closed_for(struct arbiter *arbiter);

/* Charge device time from one CLOCK_MONOTONIC to another, both past, less what was charged of it already
 * by any session of the vGPU; it is counted for this session too. */
void arbiter_charge(struct arbiter *arbiter, uint64_t from_ns, uint64_t to_ns);

#endif
