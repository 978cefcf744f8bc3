/* What a worker gives up for good before it takes a client's first call. */
#ifndef GPUPOOL_SANDBOX_H
#define GPUPOOL_SANDBOX_H

/* What the device library of a driver needs once it is loaded; see gpupool.dataplane.worker.Sandbox. */
enum sandbox {
    SANDBOX_REFERENCE, /* an allow list of system calls, recorded by tools/record_syscalls.py */
    SANDBOX_NVIDIA,    /* a deny list, until an allow list was recorded on a GPU */
    SANDBOX_COUNT,
};

/* Restrict the system calls of every thread of this process, and its resources. Call it when the device
 * library is loaded and before anything of a client is read. The descriptor `ledger` can be mapped, locked and
 * closed from then on, not written to or copied; at `control`, -1 for none, the agent can be accepted, at no other.
 * Returns 0, or -1 with errno.
 *
 * Calls that are not allowed fail with EPERM, or with ENOSYS where libraries then use an older call that is
 * allowed; they don't kill, since libraries try calls that they can do without. Calls by another
 * architecture's table do. */
int sandbox_enter(enum sandbox sandbox, int ledger, int control);

#endif
