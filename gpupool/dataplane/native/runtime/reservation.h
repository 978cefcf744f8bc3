/* Keeps the addresses of device memory free of all else in the program. */
#ifndef GPUPOOL_RUNTIME_RESERVATION_H
#define GPUPOOL_RUNTIME_RESERVATION_H

#include <stdbool.h>

#include "wire/ranges.h"

/* Reserve the addresses of `range`, which is not yet in `memory`, its session's other device memory. False
 * when something of the program, or another session, lies there. */
bool reservation_make(const struct ranges *memory, const struct range *range);
/* Let the program have them again; `range` is no longer in `memory`. */
void reservation_end(const struct ranges *memory, const struct range *range);

#endif
