/* The packets that open a session, over a Unix SOCK_SEQPACKET socket. Little endian.
 *
 * Kept equal to gpupool/dataplane/handshake.py; tests/unit/dataplane/test_handshake.py compares both.
 *
 *   runtime -> agent    struct hello
 *   agent   -> runtime  struct welcome, then device_count times struct welcome_vgpu (kind vgpus) or struct
 *                       welcome_device (kinds list and open); kind open: with the ring's memfd as SCM_RIGHTS,
 *                       and behind it, for a runtime that speaks a version of control.h, where it is told
 *   worker  -> runtime  struct ready, on the same connection (kind open); with an error it may be the
 *                       agent's, which could not start a worker
 */
#ifndef GPUPOOL_WIRE_HANDSHAKE_H
#define GPUPOOL_WIRE_HANDSHAKE_H

#include <stdint.h>

#define HANDSHAKE_MAGIC 0x4c504750u /* "PGPL" */
#define HANDSHAKE_VERSION 1u
#define HANDSHAKE_TEXT 256 /* bytes of a text, its NUL included */
#define HANDSHAKE_DEVICES 1024 /* most vGPUs of one claim */

enum hello_kind {
    HELLO_LIST = 1, /* as HELLO_VGPUS, from runtimes of earlier versions, which go on while an agent is upgraded */
    HELLO_OPEN = 2, /* open a session on vGPU `ordinal`, as struct welcome_vgpu has it */
    HELLO_VGPUS = 3, /* which vGPUs does the ticket give? The connection ends after the answer. */
};

struct hello {
    uint32_t magic;
    uint32_t version;
    uint32_t kind;
    uint32_t ordinal;
    uint32_t pid; /* as the program sees it; for people only */
    uint32_t control; /* the newest version of control.h that the runtime speaks; 0: none, as earlier ones say */
    char ticket[HANDSHAKE_TEXT];
};

struct welcome {
    uint32_t magic;
    uint32_t version;
    uint32_t error; /* an enum result; 0: welcome */
    uint32_t device_count;
    uint64_t ring_bytes; /* size of the memfd; kind open */
    char message[HANDSHAKE_TEXT]; /* why not, when error is not 0 */
};

struct welcome_device {
    uint32_t compute; /* percent */
    uint32_t reserved;
    uint64_t memory; /* bytes */
};

struct welcome_vgpu {
    uint8_t uuid[16]; /* the vGPU's, which is no device's: several vGPUs may be on one device */
    uint64_t memory; /* bytes */
    uint32_t compute; /* percent */
    uint32_t ordinal; /* what opens it, of this attachment; one that is taken away leaves its to no other */
};

struct ready {
    uint32_t magic;
    uint32_t version;
    uint32_t error; /* an enum result; 0: the worker serves the ring */
    uint32_t reserved;
    char message[HANDSHAKE_TEXT];
};

#endif
