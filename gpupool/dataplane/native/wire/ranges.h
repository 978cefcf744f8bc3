/* Address ranges that do not overlap: the device memory of a session, as either side knows it.
 * Sorted, found by bisection. Not thread safe: the owner locks. */
#ifndef GPUPOOL_WIRE_RANGES_H
#define GPUPOOL_WIRE_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct range {
    uint64_t start;
    uint64_t bytes;
    uint64_t owner; /* the handle of what the range ends with: a context or a module */
};

struct ranges {
    struct range *items;
    size_t count;
    size_t room;
};

/* False when there is no memory, the range is empty or overlaps another. */
bool ranges_add(struct ranges *ranges, struct range range);

/* Whether a range has a byte of [address, address + bytes), which is not empty and does not wrap. */
bool ranges_touch(const struct ranges *ranges, uint64_t address, uint64_t bytes);

/* The range that holds all of [address, address + bytes), else NULL; valid until the next change. */
const struct range *ranges_find(const struct ranges *ranges, uint64_t address, uint64_t bytes);

/* How many ranges, the first ones, start at `address` or before. */
size_t ranges_before(const struct ranges *ranges, uint64_t address);

/* Remove the range that starts at `address`; false when none does. */
bool ranges_remove(struct ranges *ranges, uint64_t address, struct range *removed);

void ranges_clear(struct ranges *ranges);

#endif
