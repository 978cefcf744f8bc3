/* Copies: rows of bytes between host and device memory, in a stream's order. */
#ifndef REFCUDA_COPY_H
#define REFCUDA_COPY_H

#include "refcuda/stream.h"
#include "refcuda/thread.h"

/* Where one end of a copy may lie. */
enum side { SIDE_HOST, SIDE_DEVICE, SIDE_ANY };

struct end {
    enum side side;
    uintptr_t address;
    size_t pitch; /* bytes from row to row */
};

struct rows {
    struct end to, from;
    size_t width, height; /* bytes, rows */
};

/* Whether the program waits for the copy: as it asked, or because pageable host memory may not be read later. */
enum copy_mode { COPY_AND_WAIT, COPY_ASYNC };

/* INVALID_VALUE when an end is not all in memory of its side. */
CUresult copy_rows(enum null_stream null, CUstream stream, const struct rows *rows, enum copy_mode mode);

#endif
