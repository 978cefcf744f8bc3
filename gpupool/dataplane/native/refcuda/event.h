/* Events: marks in a stream, with the time they were reached. */
#ifndef REFCUDA_EVENT_H
#define REFCUDA_EVENT_H

#include "refcuda/stream.h"

/* Where the event was last recorded, counted; nowhere when it never was. */
CUresult event_place(CUevent handle, struct place *place);

#endif
