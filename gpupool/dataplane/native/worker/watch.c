#include "worker/watch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "wire/futex.h"
#include "worker/span.h"

/* For freeing what the client left; the device's driver frees the rest. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ENDING_SECONDS 20 /* a sanitizer makes it slower by far */
#else
#define ENDING_SECONDS 2
#endif
#define REST_MS 100      /* where the agent's channel can't be read */
#define WAKE_MS 20

static void wake(struct session *session)
{
    futex_wake(&session->ring.control->head, 1);
}

static void note_freeze(struct session *session, const struct control_message *message, bool frozen)
{
    session->freeze = *message;
    atomic_store(&session->freezing, frozen);
}

/* What changed is in the ledger or the device's state; here it only has to be looked at. */
static void take(struct session *session, const struct control_message *message)
{
    enum control_status status = CONTROL_DONE;
    switch (message->kind) {
    case CONTROL_FROZEN:
        note_freeze(session, message, true);
        return; /* answered when the device has no work */
    case CONTROL_THAWED:
        note_freeze(session, message, false);
        break;
    case CONTROL_IDENTITY: /* it was started with all that it needs of it */
    case CONTROL_REVOKED:  /* the agent kills it next; the program is told by itself */
    case CONTROL_RESIZED:
        break;
    default:
        status = CONTROL_NOT_SUPPORTED;
    }
    control_answer(&session->control, message, status);
}

static void hear(struct session *session)
{
    struct control_message message;
    bool heard = false;
    pthread_mutex_lock(&session->control_lock);
    while (control_next(&session->control, &message)) {
        take(session, &message);
        heard = true;
    }
    pthread_mutex_unlock(&session->control_lock);
    wake(session);
    if (!heard)
        poll(NULL, 0, REST_MS);
}

void watch_drained(struct session *session)
{
    pthread_mutex_lock(&session->control_lock);
    if (atomic_exchange(&session->freezing, false))
        control_answer(&session->control, &session->freeze, CONTROL_DONE);
    pthread_mutex_unlock(&session->control_lock);
}

/* Wait for the runtime's end or a message. The thread that takes records may have gone to sleep just when it was woken
 * to look at a freeze: it is woken again. */
static bool await(struct session *session, struct pollfd watched[2])
{
    int patience = atomic_load(&session->freezing) ? WAKE_MS : -1;
    watched[1].fd = control_descriptor(&session->control);
    int ready = poll(watched, 2, patience);
    if (ready == 0)
        wake(session);
    return ready > 0;
}

static void *run(void *argument)
{
    struct session *session = argument;
    struct pollfd watched[] = {{.fd = session->connection, .events = POLLIN}, {.events = POLLIN}};
    do {
        if (!await(session, watched))
            watched[0].revents = 0;
        else if (watched[1].revents)
            hear(session);
    } while (!watched[0].revents);
    atomic_store(&session->ended, true);
    wake(session);
    sleep(ENDING_SECONDS);
    /* The ledger's lock may be held by a worker that is stopped: its end is not to be waited for. */
    alarm(ENDING_SECONDS);
    spans_abandon(session);
    _exit(0);
}

bool watch_start(struct session *session)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, session) != 0)
        return false;
    pthread_detach(thread);
    return true;
}
