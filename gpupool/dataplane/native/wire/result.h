/* What a call, or the opening of a session, came to: 0, an error of gpupool's own, or a number of the program's API,
 * which ring, session and handshake pass on unread. gpupool's own errors have the numbers that CUDA gives to the same:
 * runtimes and workers of all versions send them to each other. gpupool/dataplane/handshake.py names some, too. */
#ifndef GPUPOOL_WIRE_RESULT_H
#define GPUPOOL_WIRE_RESULT_H

enum result {
    RESULT_OK = 0,
    RESULT_INVALID_VALUE = 1,
    RESULT_OUT_OF_MEMORY = 2,
    RESULT_DEVICE_UNAVAILABLE = 46,
    RESULT_NO_DEVICE = 100,
    RESULT_INVALID_DEVICE = 101,
    RESULT_OPERATING_SYSTEM = 304,
    RESULT_INVALID_HANDLE = 400,
    RESULT_NOT_READY = 600,
    RESULT_UNKNOWN = 999,
};

#endif
