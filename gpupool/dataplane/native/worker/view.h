/* The file system that a worker sees. Both need a mount namespace of the process's own. */
#ifndef GPUPOOL_VIEW_H
#define GPUPOOL_VIEW_H

#include <stdbool.h>

#include "worker/missing.h"

/* What the view shows of the host, ending with NULL. */
extern const char *const view_paths[];

/* Replace everything by a read-only file system of the host's shared libraries, /dev/null and
 * /proc/self/fd. Returns false with errno when the host does not allow it, and leaves the file system. */
bool view_enter(missing_part *missing);

/* Cover what others can leave files in or read of processes: for a library whose files are not known. */
void view_cover(missing_part *missing);

#endif
