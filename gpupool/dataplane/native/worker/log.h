#ifndef GPUPOOL_WORKER_LOG_H
#define GPUPOOL_WORKER_LOG_H

/* Write one line about session `id` on standard error, which is the agent's until the sandbox is entered. */
void worker_log(const char *id, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
