#include "runtime/process.h"

#include <stdlib.h>

#include "runtime/fork.h"

static struct {
    pthread_mutex_t lock;
    atomic_bool entered;
    bool fork_handled;
    const struct process_api *api;
    struct vgpus vgpus; /* the program's devices */
    struct session *_Atomic *sessions; /* of each device; NULL: not opened */
} process = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* fork() copies the books as they are: no thread may be changing them. */
static void before_fork(void)
{
    pthread_mutex_lock(&process.lock);
    for (int index = 0; index < process.vgpus.count; index++)
        if (process.sessions[index])
            pthread_mutex_lock(&process.sessions[index]->table_lock);
    process.api->lock();
}

static void after_fork(void)
{
    process.api->unlock();
    for (int index = process.vgpus.count; index-- > 0;)
        if (process.sessions[index])
            pthread_mutex_unlock(&process.sessions[index]->table_lock);
    pthread_mutex_unlock(&process.lock);
}

/* The child of a fork starts anew. It must not hold the parent's connections: the worker would not
 * learn of the parent's end. */
static void start_anew(void)
{
    after_fork();
    for (int index = 0; index < process.vgpus.count; index++)
        if (process.sessions[index])
            session_abandon(process.sessions[index]);
    process.sessions = NULL;
    process.vgpus = (struct vgpus){0};
    atomic_store(&process.entered, false);
    process.api->forget();
}

static enum result list_devices(void)
{
    enum result result = vgpus_list(&process.vgpus);
    if (result != RESULT_OK)
        return result;
    result = process.api->select(&process.vgpus);
    if (result == RESULT_OK && !process.vgpus.count)
        result = RESULT_NO_DEVICE;
    if (result == RESULT_OK) {
        process.sessions = calloc((size_t)process.vgpus.count, sizeof *process.sessions);
        result = process.sessions ? RESULT_OK : RESULT_OUT_OF_MEMORY;
    }
    if (result != RESULT_OK)
        vgpus_clear(&process.vgpus);
    return result;
}

static enum result enter(const struct process_api *api)
{
    process.api = api;
    enum result result = list_devices();
    if (result != RESULT_OK)
        return result;
    if (!process.fork_handled)
        process.fork_handled = fork_watch(before_fork, after_fork, start_anew);
    atomic_store(&process.entered, true);
    return RESULT_OK;
}

enum result process_enter(const struct process_api *api)
{
    enum result result = RESULT_OK;
    pthread_mutex_lock(&process.lock);
    if (!atomic_load(&process.entered))
        result = enter(api);
    pthread_mutex_unlock(&process.lock);
    return result;
}

bool process_entered(void)
{
    return atomic_load_explicit(&process.entered, memory_order_acquire);
}

int process_device_count(void)
{
    return process.vgpus.count;
}

const struct vgpu *process_device(int ordinal)
{
    return ordinal >= 0 && ordinal < process.vgpus.count ? &process.vgpus.items[ordinal] : NULL;
}

uint64_t process_device_memory(int ordinal)
{
    struct session *session = process_opened(ordinal);
    uint64_t told = session ? atomic_load(&session->notices.memory) : 0;
    return told ? told : process.vgpus.items[ordinal].memory;
}

struct session *process_opened(int ordinal)
{
    return process_device(ordinal) ? process.sessions[ordinal] : NULL;
}

enum result process_session(int ordinal, struct session **session)
{
    enum result result = RESULT_OK;
    if (!process_device(ordinal))
        return RESULT_INVALID_DEVICE;
    *session = process.sessions[ordinal];
    if (!*session) {
        pthread_mutex_lock(&process.lock);
        *session = process.sessions[ordinal];
        if (!*session)
            result = session_open(ordinal, &process.vgpus.items[ordinal], process.api->learn, session);
        process.sessions[ordinal] = *session;
        pthread_mutex_unlock(&process.lock);
    }
    return result == RESULT_OK ? session_state(*session) : result;
}

struct session *process_owner(struct session *first, uint64_t address, uint64_t bytes)
{
    if (first && session_owns(first, address, bytes, NULL))
        return first;
    for (int ordinal = 0; ordinal < process.vgpus.count; ordinal++) {
        struct session *session = process_opened(ordinal);
        if (session && session != first && session_owns(session, address, bytes, NULL))
            return session;
    }
    return NULL;
}
