/* Restricts which files this process may open, where the host allows no file system of its own: see view.h. */
#ifndef GPUPOOL_LANDLOCK_H
#define GPUPOOL_LANDLOCK_H

#include <stdbool.h>

/* Allow the calling thread, and those it starts, to read what the view shows and the file `library`, a
 * descriptor or -1, and nothing else by a path. Processes that did so can't trace each other either. Needs no
 * privilege, but no_new_privs. Returns false with errno when the kernel has no Landlock. */
bool landlock_enter(int library);

#endif
