/* What the agent tells of a session, see wire/control.h. */
#ifndef GPUPOOL_RUNTIME_NOTICES_H
#define GPUPOOL_RUNTIME_NOTICES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/control.h"

struct notices {
    pthread_mutex_t lock; /* all below */
    struct control control;
    int ordinal; /* the program's device */
    struct control_message identity, revoked; /* as far as their kind says so */
    bool frozen, lost; /* as it was logged */
    _Atomic uint64_t memory; /* bytes of the vGPU, 0: not told; needs no lock */
};

/* Be told at `listener` of the session of device `ordinal`; -1: nothing is told. */
void notices_open(struct notices *notices, int ordinal, int listener);
/* Hear nothing more. Needs no lock: in the child of a fork another thread of the parent may have it. */
void notices_close(struct notices *notices);
/* What to wait for with POLLIN; -1: nothing. */
int notices_descriptor(struct notices *notices);
/* Take what there is, without waiting; whether the session is revoked. `*heard`: whether there was anything. */
bool notices_take(struct notices *notices, bool *heard);
/* Log once that the device is lost, and why as far as it was told. */
void notices_log_lost(struct notices *notices);

#endif
