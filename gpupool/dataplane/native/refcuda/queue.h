/* What streams run, and waiting for it. */
#ifndef REFCUDA_QUEUE_H
#define REFCUDA_QUEUE_H

#include "refcuda/stream.h"

/* Nothing more is accepted; what is queued still runs. */
void stream_close(struct stream *stream);

/* Queues the work, which is disposed of in any case. `place`, when given, becomes where it is. */
CUresult stream_submit(struct stream *stream, struct work *work, struct place *place);

/* Queues the work and waits for it; returns what it returned. The caller runs it when nothing is before it. */
CUresult stream_run(struct stream *stream, struct work *work);

/* Makes `work` wait for a place. False when there is no memory. */
bool work_wait_for(struct work *work, const struct place *place);

bool place_done(const struct place *place);
CUresult place_wait(const struct place *place);
void place_drop(struct place *place);
/* `*to` becomes `from`, counted. */
void place_copy(struct place *to, const struct place *from);

/* Waits for all work submitted to any stream of the context so far. */
CUresult streams_wait(struct context *context);

/* Closes every stream of the context and waits until each is empty. */
void streams_end(struct context *context);

#endif
