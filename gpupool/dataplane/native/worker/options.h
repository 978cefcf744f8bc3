/* A worker's command line; gpupool/dataplane/worker.py writes it. */
#ifndef GPUPOOL_WORKER_OPTIONS_H
#define GPUPOOL_WORKER_OPTIONS_H

#include <stdbool.h>

struct options {
    const char *session, *library;
    int ordinal, ledger, slot, connection, ring, control, device_state, context_mib, granule, uid, sandbox;
    bool check;
};

/* False when it is none that can be served. */
bool options_read(int count, char **arguments, struct options *options);
void options_print_usage(void);

#endif
