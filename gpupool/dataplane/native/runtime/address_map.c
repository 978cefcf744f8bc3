#include "runtime/address_map.h"

#include "runtime/reservation.h"

bool address_map_add(struct ranges *map, struct range range)
{
    if (!reservation_make(map, &range))
        return false;
    if (ranges_add(map, range))
        return true;
    reservation_end(map, &range);
    return false;
}

bool address_map_remove(struct ranges *map, uint64_t address, struct range *removed)
{
    bool found = ranges_remove(map, address, removed);
    if (found)
        reservation_end(map, removed);
    return found;
}

void address_map_remove_owned(struct ranges *map, uint64_t owner,
                              void (*removed)(void *argument, const struct range *range), void *argument)
{
    struct range range;
    for (size_t index = map->count; index-- > 0;) {
        if (map->items[index].owner != owner)
            continue;
        address_map_remove(map, map->items[index].start, &range);
        if (removed)
            removed(argument, &range);
    }
}

void address_map_clear(struct ranges *map)
{
    struct range removed;
    while (map->count)
        address_map_remove(map, map->items[0].start, &removed);
}
