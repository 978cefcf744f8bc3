/* Work that waits for its turn is parked here, so that the thread which takes records goes on with what needs none.
 *
 * Parked records are served in their order. What comes meanwhile is parked behind them, unless it may go ahead. */
#ifndef GPUPOOL_WORKER_TURN_H
#define GPUPOOL_WORKER_TURN_H

#include "worker/session.h"

/* Make session->turns; false when there is no memory. */
bool turns_open(struct session *session);

/* Whether the vGPU's share, and its device, allow work now. If not, the time to ask again is noted. */
bool turn_come(struct session *session);
/* Note that work can't be done for some ns. */
void turn_wait(struct session *session, uint64_t nanoseconds);

/* For a serving function that has done nothing yet: have the record served again when its turn has come. */
static inline enum result turn_park(struct reply *reply)
{
    reply->parked = true;
    return RESULT_OK;
}

/* The first record that is parked; NULL: none is, or it is not time to try it. */
const struct record *turn_first(struct session *session);
/* It was served. */
void turn_done(struct session *session);

/* Whether a record may not be served before those that are parked. */
bool turn_is_behind(const struct session *session, const struct record *record);
/* Park a copy of it; false while there is no room. */
bool turn_add(struct session *session, const struct record *record);

/* Whether something is parked. */
bool turns_any(const struct session *session);
/* In how many ns the first is to be tried; UINT64_MAX: nothing is parked. */
uint64_t turns_wait(const struct session *session);

#endif
