/* When a vGPU was busy, over all its sessions, so that time in which several of them were is charged once.
 *
 * Kept are the newest idle gaps between `floor` and `until`; all else between them was busy. Sessions charge in any order, since
 * each looks when it has time to. */
#ifndef GPUPOOL_WORKER_TIMELINE_H
#define GPUPOOL_WORKER_TIMELINE_H

#include <stdint.h>

#define TIMELINE_GAPS 61u

struct gap {
    uint64_t from, to;
};

/* Lies in the ledger. All zero is a timeline of which nothing was busy. */
struct timeline {
    uint64_t until; /* ns of CLOCK_MONOTONIC */
    uint64_t floor; /* before it gaps are forgotten: time there is charged in full */
    uint64_t count;
    uint64_t reserved;
    struct gap gaps[TIMELINE_GAPS]; /* in order of time */
};

/* Make [from, to) busy; return how many ns of it were not yet. */
uint64_t timeline_cover(struct timeline *timeline, uint64_t from, uint64_t to);

#endif
