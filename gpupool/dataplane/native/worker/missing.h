#ifndef GPUPOOL_WORKER_MISSING_H
#define GPUPOOL_WORKER_MISSING_H

/* Told of each part of the isolation that the host does not allow; `error` is an errno. */
typedef void missing_part(const char *part, int error);

#endif
