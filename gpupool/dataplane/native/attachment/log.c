#include "attachment/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void runtime_log(const char *format, ...)
{
    char line[600] = "gpupool: ";
    size_t start = strlen(line);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + start, sizeof line - start - 1, format, arguments);
    va_end(arguments);
    strcat(line, "\n");
    /* One write: lines of several threads must not mix. */
    if (write(STDERR_FILENO, line, strlen(line)) < 0)
        return;
}
