#ifndef GPUPOOL_ATTACHMENT_LOG_H
#define GPUPOOL_ATTACHMENT_LOG_H

/* Write one line on standard error, starting "gpupool: ". */
void runtime_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
