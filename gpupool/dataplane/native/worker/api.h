/* What a worker serves: the messages of one API, and the backend they need. */
#ifndef GPUPOOL_WORKER_API_H
#define GPUPOOL_WORKER_API_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/handle_table.h"
#include "wire/result.h"
#include "wire/ring.h"
#include "worker/backend.h"
#include "worker/reply.h"

struct session;

/* Serving functions get a private copy of the record, whose request and payload have their full sizes; they check all
 * else. For a one-way message the result is deferred unless it is 0. */
#define SERVE_ARGUMENTS struct session *session, const struct record *record, struct reply *reply

/* When a record is served while others wait for their turn. */
enum turn {
    TURN_ORDERED,  /* behind all of them; what could go ahead of them waits for it */
    TURN_WORK,     /* behind all of them */
    TURN_AHEAD,    /* at once, unless one that is ordered waits: it needs nothing that work does */
    TURN_PROGRESS, /* at once, with RESULT_NOT_READY */
};

struct service {
    enum result (*serve)(SERVE_ARGUMENTS); /* NULL: there is no such message */
    uint32_t request_bytes;
    bool answered;
    enum turn turn;
    bool waits; /* it does its work though an earlier one failed: a program counts on it that the device is done */
    uint64_t (*payload)(const void *request); /* bytes that follow the request; NULL: none */
};

#define PAYLOAD_ANY UINT64_MAX

/* Of a message after which as many bytes follow as the record has. */
static inline uint64_t payload_any(const void *request)
{
    (void)request;
    return PAYLOAD_ANY;
}

struct api {
    const struct backend *backend;
    const struct service *services; /* by the message's number */
    uint32_t service_count;
    /* The call is not served: an earlier one failed, or its payload is none of it. */
    void (*skip)(struct session *session, uint16_t call);
    /* The session ends: free what a handle of the API's own stands for. */
    void (*end_item)(struct session *session, enum handle_kind kind, void *item);
};

#endif
