#include "worker/log.h"

#include <stdarg.h>
#include <stdio.h>

void worker_log(const char *id, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    fprintf(stderr, "gpupool-worker %s: %s\n", id ? id : "?", line);
}
