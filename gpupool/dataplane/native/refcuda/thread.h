#ifndef REFCUDA_THREAD_H
#define REFCUDA_THREAD_H

#include "refcuda/stream.h"

/* What a null stream handle means: with the ordinary functions and with their _ptsz and _ptds twins. */
enum null_stream { NULL_IS_LEGACY, NULL_IS_PER_THREAD };

/* The stream of a handle, counted. Null and special handles need a current context. */
CUresult stream_acquire(CUstream handle, enum null_stream null, struct stream **stream);

#endif
