/* gpupool-doctor says which libcuda.so.1 programs find here, and which attachments. */
#ifndef GPUPOOL_DOCTOR_H
#define GPUPOOL_DOCTOR_H

#include <stdbool.h>

/* --- library.c --- */

enum origin { ORIGIN_RUNTIME, ORIGIN_OTHER, ORIGIN_UNREADABLE };

/* Whose libcuda the file at `path` is. */
enum origin library_origin(const char *path);
const char *origin_text(enum origin origin);
/* Print which libcuda.so.1 the dynamic loader finds; whether it is the runtime. */
bool library_report(void);

/* --- processes.c --- */

/* Print which libcuda each process of this container has loaded. */
void processes_report(void);

#endif
