#include "wire/ranges.h"

#include <stdlib.h>
#include <string.h>

size_t ranges_before(const struct ranges *ranges, uint64_t address)
{
    size_t low = 0, high = ranges->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ranges->items[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool grow(struct ranges *ranges)
{
    size_t room = ranges->room ? ranges->room * 2 : 64;
    struct range *items = realloc(ranges->items, room * sizeof *items);
    if (!items)
        return false;
    ranges->items = items;
    ranges->room = room;
    return true;
}

bool ranges_touch(const struct ranges *ranges, uint64_t address, uint64_t bytes)
{
    size_t at = ranges_before(ranges, address + bytes - 1);
    return at > 0 && ranges->items[at - 1].start + ranges->items[at - 1].bytes > address;
}

bool ranges_add(struct ranges *ranges, struct range range)
{
    size_t at = ranges_before(ranges, range.start);
    if (range.bytes == 0 || range.start + range.bytes < range.start ||
        ranges_touch(ranges, range.start, range.bytes))
        return false;
    if (ranges->count == ranges->room && !grow(ranges))
        return false;
    memmove(&ranges->items[at + 1], &ranges->items[at], (ranges->count - at) * sizeof range);
    ranges->items[at] = range;
    ranges->count++;
    return true;
}

const struct range *ranges_find(const struct ranges *ranges, uint64_t address, uint64_t bytes)
{
    size_t at = ranges_before(ranges, address);
    if (at == 0)
        return NULL;
    const struct range *range = &ranges->items[at - 1];
    uint64_t offset = address - range->start;
    return offset < range->bytes && bytes <= range->bytes - offset ? range : NULL;
}

bool ranges_remove(struct ranges *ranges, uint64_t address, struct range *removed)
{
    size_t at = ranges_before(ranges, address);
    if (at == 0 || ranges->items[at - 1].start != address)
        return false;
    at--;
    *removed = ranges->items[at];
    ranges->count--;
    memmove(&ranges->items[at], &ranges->items[at + 1], (ranges->count - at) * sizeof *removed);
    return true;
}

void ranges_clear(struct ranges *ranges)
{
    free(ranges->items);
    memset(ranges, 0, sizeof *ranges);
}
