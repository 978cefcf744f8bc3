/* The calls whose runtime side is generated from the API table. */
#include "gpupool_calls.h"
#include "gpupool_messages.h"
#include "runtime/cuda/call.h"
#include "runtime/cuda/stream.h"

#include "runtime_stubs.inc"
