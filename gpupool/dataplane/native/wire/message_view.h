/* What can be known of a message without knowing what it is about: sizes, handles, which bytes move, which way.
 *
 * For what passes messages on, such as a relay. The rows are made of the API table (gpupool_message_view.h), one per
 * message number. All offsets are bytes into the request, or, where `reply` says so, into the reply. */
#ifndef GPUPOOL_WIRE_MESSAGE_VIEW_H
#define GPUPOOL_WIRE_MESSAGE_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum view_place {
    VIEW_DEVICE,  /* device memory */
    VIEW_RECORD,  /* behind the request */
    VIEW_REPLY,   /* behind the reply */
    VIEW_STAGING, /* the arena's staging ring */
    VIEW_ARENA,
    VIEW_WORKER,
    VIEW_VALUE, /* a field of the request is repeated */
};

enum view_complete {
    VIEW_SERVED, /* when the worker has served the message */
    VIEW_STREAM, /* when its stream has come so far */
};

enum view_use { VIEW_NEW, VIEW_USED, VIEW_DESTROYED };

/* A field that holds a number of 4 or 8 bytes. */
struct view_field {
    uint16_t at;
    uint8_t bytes; /* 0: none */
    bool reply;
};

/* A product of fields, times a number of bytes. */
struct view_term {
    uint32_t scale;
    struct view_field factors[3];
};

/* Bytes that move. */
struct view_bulk {
    uint8_t source, target; /* enum view_place */
    uint8_t complete;       /* enum view_complete */
    bool rest;              /* all further bytes of the record, or of the answer; else the sum of the terms */
    struct view_field place; /* of a staging position or an arena offset */
    struct view_term terms[2];
    struct view_field only_if; /* it moves only if this field has ... */
    uint32_t only_value;       /* ... this value */
};

/* A field that holds a handle of the runtime. */
struct view_handle {
    uint16_t at;
    uint8_t kind; /* enum handle_kind */
    uint8_t use;  /* enum view_use */
};

struct message_view {
    const char *name;
    uint16_t request_bytes, reply_bytes;
    bool answered;
    uint8_t handle_count, bulk_count;
    struct view_handle handles[3];
    struct view_bulk bulks[2];
};

/* The number that a field of `content` holds; 0 when there is no such field. */
static inline uint64_t view_value(struct view_field field, const void *content)
{
    uint64_t wide = 0;
    uint32_t narrow = 0;
    if (field.bytes == sizeof wide)
        memcpy(&wide, (const char *)content + field.at, sizeof wide);
    else if (field.bytes == sizeof narrow)
        memcpy(&narrow, (const char *)content + field.at, sizeof narrow);
    return wide + narrow;
}

/* Bytes of a term; false when they overflow. */
static inline bool view_term_bytes(const struct view_term *term, const void *request, const void *reply,
                                   uint64_t *bytes)
{
    *bytes = term->scale;
    for (unsigned index = 0; index < sizeof term->factors / sizeof *term->factors; index++) {
        struct view_field field = term->factors[index];
        if (field.bytes && __builtin_mul_overflow(*bytes, view_value(field, field.reply ? reply : request), bytes))
            return false;
    }
    return true;
}

/* Bytes that move by one bulk of a message whose request and reply are whole; 0 when it does not apply, or is all
 * further bytes. False when they overflow. */
static inline bool view_bulk_bytes(const struct view_bulk *bulk, const void *request, const void *reply,
                                   uint64_t *bytes)
{
    uint64_t more;
    *bytes = 0;
    if (bulk->only_if.bytes && view_value(bulk->only_if, request) != bulk->only_value)
        return true;
    for (unsigned index = 0; index < sizeof bulk->terms / sizeof *bulk->terms; index++) {
        if (!view_term_bytes(&bulk->terms[index], request, reply, &more) || __builtin_add_overflow(*bytes, more, bytes))
            return false;
    }
    return true;
}

#endif
