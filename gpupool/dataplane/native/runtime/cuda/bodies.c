/* The calls that the runtime answers, or makes of others; generated from the API table. */
#include <stdlib.h>
#include <string.h>

#include "gpupool_calls.h"
#include "gpupool_messages.h"
#include "runtime/cuda/call.h"
#include "runtime/cuda/copy.h"
#include "runtime/cuda/current.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/function.h"
#include "runtime/cuda/host.h"
#include "runtime/cuda/memory.h"
#include "runtime/cuda/stream.h"
#include "runtime/cuda/text.h"
#include "runtime/process.h"

#include "runtime_bodies.inc"
