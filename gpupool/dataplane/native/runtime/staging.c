#include "runtime/staging.h"

#include <string.h>

#include "gpupool_messages.h"

/* Whether staging is free up to `position` of all that ever went through it. */
static bool is_released(const struct session *session, uint64_t position)
{
    uint64_t released = atomic_load(&session->ring.control->staging_released);
    return (int64_t)(released - position) >= 0;
}

static enum result wait_staging(struct session *session, uint64_t position)
{
    struct staging_wait_request message = {.position = position};
    struct bytes request = {&message, sizeof message}, none = {NULL, 0};
    size_t got;
    return session_ask(session, CALL_staging_wait, request, none, NULL, 0, &got);
}

/* Where the next piece goes, which must not wrap; the staging lock is held. */
static uint64_t next_place(const struct session *session, size_t bytes)
{
    uint64_t size = session->ring.staging_bytes, at = session->staged;
    return at % size + bytes > size ? at + size - at % size : at;
}

/* Take room for a piece. Waiting for it needs the lock let go: a smaller piece may fit meanwhile. On success
 * the lock is held. */
static enum result lock_staging(struct session *session, size_t bytes, uint64_t *position)
{
    uint64_t size = session->ring.staging_bytes;
    enum result result = RESULT_OK;
    while (result == RESULT_OK) {
        pthread_mutex_lock(&session->staging_lock);
        uint64_t at = *position = next_place(session, bytes);
        if (at + bytes <= size || is_released(session, at + bytes - size))
            break;
        pthread_mutex_unlock(&session->staging_lock);
        result = wait_staging(session, at + bytes - size);
    }
    return result;
}

enum result staging_send(struct session *session, const void *source, size_t bytes,
                      enum result (*send)(struct session *session, uint64_t position, size_t bytes, void *context),
                      void *context)
{
    size_t most = session->ring.staging_bytes / 4;
    const unsigned char *from = source;
    while (bytes) {
        size_t piece = bytes < most ? bytes : most;
        uint64_t position;
        enum result result = lock_staging(session, piece, &position);
        if (result != RESULT_OK)
            return result;
        memcpy(session->ring.arena + position % session->ring.staging_bytes, from, piece);
        session->staged = (position + piece + RING_ALIGNMENT - 1) & ~(uint64_t)(RING_ALIGNMENT - 1);
        /* Under the lock: staging is released in the order in which it is sent. */
        result = send(session, position, piece, context);
        pthread_mutex_unlock(&session->staging_lock);
        if (result != RESULT_OK)
            return result;
        from += piece;
        bytes -= piece;
    }
    return RESULT_OK;
}
