/* The control channel: what an agent tells a session's runtime and its worker, each of them beside the ring.
 *
 * The agent gives each of the two a Unix SOCK_SEQPACKET socket that listens, and connects to it; one that was restarted
 * connects again. Every packet is one struct control_message, little endian. The agent speaks, its peer answers what has
 * come. Kept equal to gpupool/dataplane/control.py; tests/unit/dataplane/test_control.py compares both.
 *
 * Versions: a runtime says in struct hello the newest that it speaks, and a worker is of the agent's version when it is
 * started, which the agent notes. The agent speaks the newest that both know, the peer answers in the version of what it
 * answers. A peer of no version has no channel.
 */
#ifndef GPUPOOL_WIRE_CONTROL_H
#define GPUPOOL_WIRE_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTROL_MAGIC 0x4c544347u /* "GCTL" */
#define CONTROL_VERSION 1u
#define CONTROL_TEXT 256 /* bytes of the text, its NUL included */

enum control_kind {
    CONTROL_IDENTITY = 1, /* the first on each connection: who the peer is, and its share as of now */
    CONTROL_REVOKED = 2,  /* the session ends; the text says why */
    CONTROL_FROZEN = 3,   /* work waits until CONTROL_THAWED; a worker answers when the device has none of it */
    CONTROL_THAWED = 4,
    CONTROL_MOVED = 5, /* reserved */
    CONTROL_RESIZED = 6, /* the share is another from now on */
    CONTROL_ANSWER = 7, /* of the peer, to the message of the same sequence */
};

enum control_status {
    CONTROL_DONE = 0,
    CONTROL_NOT_SUPPORTED = 1,
};

struct control_message {
    uint32_t magic;
    uint16_t version;
    uint16_t kind;
    uint32_t sequence; /* counts the agent's messages on this connection */
    uint32_t status;   /* of an answer */
    uint8_t session[16], claim[16], vgpu[16]; /* UUIDs */
    uint32_t index;   /* the vGPU's in its claim */
    uint32_t compute; /* percent of the device */
    uint64_t memory;  /* bytes of the vGPU */
    char text[CONTROL_TEXT];
};

_Static_assert(sizeof(struct control_message) == 336, "no padding");

/* Read a packet; false when it is no message of a known version. Its text has an end. */
bool control_decode(const void *packet, size_t bytes, struct control_message *message);

#define CONTROL_UUID 37 /* bytes of a UUID's text, its NUL included */
void control_uuid(const uint8_t uuid[16], char text[CONTROL_UUID]);

/* One peer's end. All zero bytes are none: control_open first. */
struct control {
    int listener, connection; /* -1: none */
};

/* Listen at `listener`, -1: there is no channel. */
void control_open(struct control *control, int listener);
void control_close(struct control *control);

/* What to wait for with POLLIN until there may be a message; -1: nothing will come. */
int control_descriptor(const struct control *control);

/* Take the agent's next message without waiting; false: there is none now. */
bool control_next(struct control *control, struct control_message *message);

/* Answer `message`; an agent that is gone, or does not read, gets none. */
void control_answer(const struct control *control, const struct control_message *message, enum control_status status);

#endif
