/* Whether calls are allowed, tracing, threads. */
#include "refcuda/driver.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* Room for the tiles kernels keep in local variables. */
enum { STACK_SIZE = 4 << 20 };

enum state { STATE_NEW, STATE_READY, STATE_FORKED };

static atomic_int state = STATE_NEW;
static pthread_mutex_t init_lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local bool in_callback;

static void write_line(const char *format, va_list arguments)
{
    char line[512];
    vsnprintf(line, sizeof line, format, arguments);
    fprintf(stderr, "refcuda: %s\n", line);
}

static bool tracing(void)
{
    const char *value = getenv("REFCUDA_TRACE");
    return value && *value;
}

void trace(const char *format, ...)
{
    va_list arguments;
    if (!tracing())
        return;
    va_start(arguments, format);
    write_line(format, arguments);
    va_end(arguments);
}

CUresult refuse(CUresult result, const char *format, ...)
{
    va_list arguments;
    if (!tracing())
        return result;
    va_start(arguments, format);
    write_line(format, arguments);
    va_end(arguments);
    return result;
}

CUresult driver_ready(void)
{
    if (atomic_load(&state) != STATE_READY)
        return CUDA_ERROR_NOT_INITIALIZED;
    return in_callback ? refuse(CUDA_ERROR_NOT_PERMITTED, "a host callback calls the driver") : CUDA_SUCCESS;
}

void driver_set_callback(bool inside)
{
    in_callback = inside;
}

bool driver_start_thread(const char *name, void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    int failed;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&thread, &attributes, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (failed)
        trace("no thread for %s: error %d", name, failed);
    return !failed;
}

/* The threads that run streams do not exist in a child: as on NVIDIA's driver, it cannot use the library. */
static void after_fork(void)
{
    if (atomic_load(&state) == STATE_READY)
        atomic_store(&state, STATE_FORKED);
}

static CUresult initialize(CUresult (*open)(void))
{
    CUresult result = open();
    if (result)
        return result;
    pthread_atfork(NULL, NULL, after_fork);
    atomic_store(&state, STATE_READY);
    return CUDA_SUCCESS;
}

CUresult driver_start(CUresult (*open)(void))
{
    CUresult result = CUDA_SUCCESS;
    if (atomic_load(&state) == STATE_FORKED)
        return refuse(CUDA_ERROR_NOT_INITIALIZED, "cuInit in a child of a process that used the library");
    pthread_mutex_lock(&init_lock);
    if (atomic_load(&state) == STATE_NEW)
        result = initialize(open);
    pthread_mutex_unlock(&init_lock);
    return result;
}
