#include "runtime/notices.h"

#include <string.h>

#include "attachment/log.h"

void notices_open(struct notices *notices, int ordinal, int listener)
{
    pthread_mutex_init(&notices->lock, NULL);
    notices->ordinal = ordinal;
    control_open(&notices->control, listener);
}

void notices_close(struct notices *notices)
{
    control_close(&notices->control);
}

int notices_descriptor(struct notices *notices)
{
    pthread_mutex_lock(&notices->lock);
    int descriptor = control_descriptor(&notices->control);
    pthread_mutex_unlock(&notices->lock);
    return descriptor;
}

static void log_frozen(struct notices *notices, bool frozen, const char *why)
{
    if (frozen && !notices->frozen)
        runtime_log("device %d is frozen, its work waits: %s", notices->ordinal, why);
    else if (!frozen && notices->frozen)
        runtime_log("device %d works again", notices->ordinal);
    notices->frozen = frozen;
}

static enum control_status take(struct notices *notices, const struct control_message *message)
{
    switch (message->kind) {
    case CONTROL_IDENTITY:
        notices->identity = *message;
        atomic_store(&notices->memory, message->memory);
        return CONTROL_DONE;
    case CONTROL_RESIZED:
        atomic_store(&notices->memory, message->memory);
        return CONTROL_DONE;
    case CONTROL_FROZEN:
    case CONTROL_THAWED:
        log_frozen(notices, message->kind == CONTROL_FROZEN, message->text);
        return CONTROL_DONE;
    case CONTROL_REVOKED:
        notices->revoked = *message;
        return CONTROL_DONE;
    default:
        return CONTROL_NOT_SUPPORTED;
    }
}

static bool take_all(struct notices *notices)
{
    struct control_message message;
    bool heard = false;
    while (control_next(&notices->control, &message)) {
        control_answer(&notices->control, &message, take(notices, &message));
        heard = true;
    }
    return heard;
}

bool notices_take(struct notices *notices, bool *heard)
{
    pthread_mutex_lock(&notices->lock);
    *heard = take_all(notices);
    bool revoked = notices->revoked.kind == CONTROL_REVOKED;
    pthread_mutex_unlock(&notices->lock);
    return revoked;
}

static void log_lost(const struct notices *notices)
{
    const struct control_message *identity = &notices->identity;
    char claim[CONTROL_UUID], session[CONTROL_UUID];
    const char *why = "its worker ended (its claim, vGPU, attachment or session was ended, or the worker failed)";
    if (notices->revoked.kind == CONTROL_REVOKED)
        why = notices->revoked.text;
    if (identity->kind != CONTROL_IDENTITY) {
        runtime_log("device %d is lost: %s", notices->ordinal, why);
        return;
    }
    control_uuid(identity->claim, claim);
    control_uuid(identity->session, session);
    runtime_log("device %d is lost: %s (session %s of claim %s)", notices->ordinal, why, session, claim);
}

void notices_log_lost(struct notices *notices)
{
    pthread_mutex_lock(&notices->lock);
    take_all(notices); /* the agent says why, then ends the worker */
    if (!notices->lost)
        log_lost(notices);
    notices->lost = true;
    pthread_mutex_unlock(&notices->lock);
}
