/* Text that a call gives the program. */
#ifndef GPUPOOL_RUNTIME_CUDA_TEXT_H
#define GPUPOOL_RUNTIME_CUDA_TEXT_H

#include <stdbool.h>

#include "cuda/cuda_abi.h"

/* Write `text` into the `room` bytes at `to`; what does not fit is cut, or refused when all of it is wanted. */
CUresult text_give(char *to, int room, const char *text, bool whole);

#endif
