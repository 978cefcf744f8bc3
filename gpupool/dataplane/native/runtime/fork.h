#ifndef GPUPOOL_RUNTIME_FORK_H
#define GPUPOOL_RUNTIME_FORK_H

#include <stdbool.h>

/* Register functions for every fork(): called before it, after it in the parent, after it in the child. */
bool fork_watch(void (*before)(void), void (*parent)(void), void (*child)(void));

#endif
