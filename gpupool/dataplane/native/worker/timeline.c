#include "worker/timeline.h"

#include <string.h>

static void remove_gap(struct timeline *timeline, uint64_t at)
{
    timeline->count--;
    memmove(&timeline->gaps[at], &timeline->gaps[at + 1], (timeline->count - at) * sizeof *timeline->gaps);
}

/* When there is no room the oldest goes, so `at` is not 0 then. */
static void insert_gap(struct timeline *timeline, uint64_t at, struct gap gap)
{
    if (timeline->count == TIMELINE_GAPS) {
        timeline->floor = timeline->gaps[0].to;
        remove_gap(timeline, 0);
        at--;
    }
    memmove(&timeline->gaps[at + 1], &timeline->gaps[at], (timeline->count - at) * sizeof *timeline->gaps);
    timeline->gaps[at] = gap;
    timeline->count++;
}

/* Take [from, to) out of the gaps; return how much of them it was. */
static uint64_t fill(struct timeline *timeline, uint64_t from, uint64_t to)
{
    uint64_t filled = 0;

    for (uint64_t at = timeline->count; at-- > 0;) {
        struct gap *gap = &timeline->gaps[at], old = *gap;
        uint64_t start = old.from > from ? old.from : from, end = old.to < to ? old.to : to;

        if (start >= end)
            continue;
        filled += end - start;
        if (start > old.from && end < old.to) {
            gap->to = start;
            insert_gap(timeline, at + 1, (struct gap){end, old.to});
            break;
        }
        if (start > old.from)
            gap->to = start;
        else if (end < old.to)
            gap->from = end;
        else
            remove_gap(timeline, at);
    }
    return filled;
}

uint64_t timeline_cover(struct timeline *timeline, uint64_t from, uint64_t to)
{
    uint64_t fresh = 0;

    /* Another worker may have written anything. */
    if (timeline->count > TIMELINE_GAPS)
        *timeline = (struct timeline){.until = timeline->until, .floor = timeline->until};
    if (from < timeline->floor) {
        uint64_t end = to < timeline->floor ? to : timeline->floor;

        fresh += end > from ? end - from : 0;
        from = timeline->floor;
    }
    if (from >= to)
        return fresh;
    fresh += fill(timeline, from, to);
    if (from > timeline->until)
        insert_gap(timeline, timeline->count, (struct gap){timeline->until, from});
    if (to > timeline->until) {
        fresh += to - (from > timeline->until ? from : timeline->until);
        timeline->until = to;
    }
    return fresh;
}
