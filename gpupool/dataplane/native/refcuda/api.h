/* How the library's functions are defined. The API table declares them (refcuda_functions.h); their meaning is
 * NVIDIA's, see cuda/cuda_abi.h. */
#ifndef REFCUDA_API_H
#define REFCUDA_API_H

#include <stdbool.h>

#include "cuda/cuda_abi.h"
#include "refcuda_functions.h"

#define API __attribute__((visibility("default")))

/* A function and its twin, in which a null stream is the thread's own. `function` takes an enum null_stream first. */
#define TWIN(name, suffix, function, parameters, ...)                                                             \
    API CUresult name parameters                                                                                  \
    {                                                                                                             \
        return function(NULL_IS_LEGACY, __VA_ARGS__);                                                             \
    }                                                                                                             \
    API CUresult name##suffix parameters                                                                          \
    {                                                                                                             \
        return function(NULL_IS_PER_THREAD, __VA_ARGS__);                                                         \
    }

/* The plain name of a function that has a _v2: once another interface, 32 bits wide, that no 64-bit program uses. */
#define ALSO(plain, function) API __typeof__(function) plain __attribute__((alias(#function)));

#endif
