/* Device time: pairs of events around runs of submitted work, and the gate in front of them.
 *
 * A span is a run of work on one stream. Its length is bounded, and below a share of 100 % so is the
 * number of spans whose time is not charged yet, so that the gate errs by little. Time in which spans
 * of several streams or sessions overlap counts once. Only the thread that takes records uses these. */
#ifndef GPUPOOL_WORKER_SPAN_H
#define GPUPOOL_WORKER_SPAN_H

#include "worker/session.h"

/* Make session->spans, with the context current; false when it fails. */
bool spans_open(struct session *session);

/* Before work on `stream`: open a span if none is. False when the work's turn has not come: nothing was done. */
bool span_enter(struct session *session, struct object *stream);
/* After it. */
void span_leave(struct session *session, struct object *stream);
/* The client pauses: close what is open. */
void spans_close(struct session *session);
/* The stream ends. */
void spans_forget(struct session *session, struct object *stream);
/* Wait for all there is, and charge it. */
void spans_finish(struct session *session);
/* Charge what is in flight up to now. Any thread may, before the process ends. */
void spans_abandon(struct session *session);
/* Charge what is done. Returns whether some is not. */
bool spans_harvest(struct session *session);

#endif
