#include "worker/waiter.h"

#include <pthread.h>
#include <stdlib.h>

#include "worker/object.h"

#define STACK (1u << 20) /* bytes: for the device library, with thread-local variables of its own */

struct waiters {
    struct session *session;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct job *first, **last;
    unsigned threads, idle, jobs;
};

struct waiters *waiters_new(struct session *session)
{
    struct waiters *waiters = calloc(1, sizeof *waiters);
    if (!waiters)
        return NULL;
    waiters->session = session;
    waiters->last = &waiters->first;
    pthread_mutex_init(&waiters->lock, NULL);
    pthread_cond_init(&waiters->more, NULL);
    return waiters;
}

static struct job *next_job(struct waiters *waiters)
{
    pthread_mutex_lock(&waiters->lock);
    waiters->idle++;
    while (!waiters->first)
        pthread_cond_wait(&waiters->more, &waiters->lock);
    waiters->idle--;
    struct job *job = waiters->first;
    waiters->first = job->next;
    if (!waiters->first)
        waiters->last = &waiters->first;
    pthread_mutex_unlock(&waiters->lock);
    return job;
}

static void *serve_jobs(void *argument)
{
    struct waiters *waiters = argument;
    struct session *session = waiters->session;
    session->backend->enter(session->device);
    for (;;) {
        struct job *job = next_job(waiters);
        enum result result = job->wait(session, job);
        if (job->object)
            object_release(session, job->object);
        /* Before the answer, which lets the client send the next one. */
        pthread_mutex_lock(&waiters->lock);
        waiters->jobs--;
        pthread_mutex_unlock(&waiters->lock);
        if (job->earlier != RESULT_OK)
            result = job->earlier;
        slot_answer(&session->ring, &job->record, result, NULL, job->bytes);
        free(job);
    }
    return NULL;
}

static bool start_thread(struct waiters *waiters)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int failed = pthread_create(&thread, &attributes, serve_jobs, waiters);
    pthread_attr_destroy(&attributes);
    if (failed)
        return waiters->threads > 0;
    waiters->threads++;
    return true;
}

bool waiters_add(struct waiters *waiters, const struct job *job)
{
    struct job *copy = malloc(sizeof *copy);
    if (!copy)
        return false;
    *copy = *job;
    copy->next = NULL;
    copy->earlier = waiters->session->deferred;
    pthread_mutex_lock(&waiters->lock);
    bool taken = waiters->jobs < RING_SLOTS;
    if (taken && waiters->jobs >= waiters->threads)
        taken = start_thread(waiters);
    if (taken) {
        waiters->jobs++;
        *waiters->last = copy;
        waiters->last = &copy->next;
        pthread_cond_signal(&waiters->more);
    }
    pthread_mutex_unlock(&waiters->lock);
    if (!taken)
        free(copy);
    return taken;
}
