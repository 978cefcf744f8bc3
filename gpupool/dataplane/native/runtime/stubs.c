/* The calls whose runtime side is generated from the API table. */
#include "runtime/runtime.h"

#include "runtime_stubs.inc"
