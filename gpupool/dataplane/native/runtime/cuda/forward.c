/* The calls whose arguments travel as they are; generated from the API table. */
#include "gpupool_calls.h"
#include "gpupool_messages.h"
#include "runtime/cuda/call.h"
#include "runtime/cuda/stream.h"

#include "runtime_forwards.inc"
