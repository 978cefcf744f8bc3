#include "worker/watch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "wire/futex.h"
#include "worker/span.h"

#define ENDING_SECONDS 2 /* for freeing what the client left; the device's driver frees the rest */
#define REST_MS 100      /* where the agent's channel can't be read */

static void wake(struct session *session)
{
    futex_wake(&session->ring.control->head, 1);
}

/* What changed is in the ledger; here it only has to be looked at. */
static enum control_status take(struct session *session, const struct control_message *message)
{
    switch (message->kind) {
    case CONTROL_RESIZED:
        wake(session);
        return CONTROL_DONE;
    case CONTROL_IDENTITY: /* it was started with all that it needs of it */
    case CONTROL_REVOKED:  /* the agent kills it next; the program is told by itself */
        return CONTROL_DONE;
    default:
        return CONTROL_NOT_SUPPORTED;
    }
}

static void hear(struct session *session)
{
    struct control_message message;
    bool heard = false;
    while (control_next(&session->control, &message)) {
        control_answer(&session->control, &message, take(session, &message));
        heard = true;
    }
    if (!heard)
        poll(NULL, 0, REST_MS);
}

static void *run(void *argument)
{
    struct session *session = argument;
    struct pollfd watched[] = {{.fd = session->connection, .events = POLLIN}, {.events = POLLIN}};
    while (!watched[0].revents) {
        watched[1].fd = control_descriptor(&session->control);
        if (poll(watched, 2, -1) <= 0)
            watched[0].revents = 0;
        else if (watched[1].revents)
            hear(session);
    }
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
