/* The books on a session's device memory, whose addresses are kept free of all else in the program. The owner locks. */
#ifndef GPUPOOL_RUNTIME_ADDRESS_MAP_H
#define GPUPOOL_RUNTIME_ADDRESS_MAP_H

#include "wire/ranges.h"

/* False when the addresses are in use in the program. */
bool address_map_add(struct ranges *map, struct range range);
bool address_map_remove(struct ranges *map, uint64_t address, struct range *removed);
/* Remove all that ends with `owner`, a context or a module: `removed` is called for each, unless it is NULL. */
void address_map_remove_owned(struct ranges *map, uint64_t owner,
                              void (*removed)(void *argument, const struct range *range), void *argument);
/* After fork(), in the child: let go of all addresses. */
void address_map_clear(struct ranges *map);

#endif
