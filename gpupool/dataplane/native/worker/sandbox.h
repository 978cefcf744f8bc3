/* What a worker gives up for good before it takes a client's first call. */
#ifndef GPUPOOL_SANDBOX_H
#define GPUPOOL_SANDBOX_H

/* Drop, for every thread of this process: gaining privileges, starting programs and processes,
 * new sockets, reaching into or signalling other processes, changing mounts, modules or the clock,
 * core dumps. Denied system calls fail with EPERM. Threads, memory, files and devices stay usable.
 * Call it when the device library is loaded. Returns 0, or -1 with errno. */
int sandbox_enter(void);

#endif
