/* The runtime: stands in for libcuda.so.1 in a program and holds no policy.
 *
 * One session per vGPU, opened at the first use of its device. The program's handles are numbers: kind,
 * ordinal of the session, and the handle that the worker knows. */
#ifndef GPUPOOL_RUNTIME_H
#define GPUPOOL_RUNTIME_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attachment/attachment.h"
#include "cuda/cuda_abi.h"
#include "gpupool_calls.h"
#include "gpupool_messages.h"
#include "wire/handle_table.h"
#include "wire/ranges.h"
#include "wire/ring.h"

/* --- session.c: one vGPU's connection --- */

#define BOUNCES 8u

/* Up to 64 equal things, each used by one thread at a time. */
struct places {
    sem_t free;
    atomic_uint_fast64_t used; /* a bit each */
};

struct session {
    int ordinal;
    int connection;
    atomic_bool lost; /* the worker is gone; every call says so */
    struct ring ring;
    pthread_mutex_t send_lock; /* the ring's producer side */
    struct places slots; /* of the ring, one per thread that waits */
    uint32_t sequence[RING_SLOTS];
    pthread_mutex_t staging_lock; /* pieces arrive in the order of their places */
    uint64_t staged;
    struct places bounces; /* parts of the bounce memory, one per thread that copies out */
    pthread_mutex_t load_lock; /* one module image at a time */
    pthread_mutex_t table_lock; /* all below */
    struct handle_table handles;
    struct ranges memory; /* owner: the context, or the module of a global */
    struct ranges heap;   /* pinned blocks, by arena offset */
    uint64_t primary;     /* handle of the primary context */
    atomic_uint primary_retained; /* changed under the table lock */
    atomic_uint primary_flags;
    struct snapshot_reply snapshot;
};

/* A stretch of bytes to send or to receive into. */
struct bytes {
    const void *data;
    size_t size;
};

/* Open a session on a vGPU, which is the program's device `ordinal`; on failure `*session` is NULL and one log line
 * says why. */
CUresult session_open(int ordinal, const struct vgpu *vgpu, struct session **session);
/* Send a one-way message. */
CUresult session_send(struct session *session, uint16_t call, struct bytes request, struct bytes payload);
/* Begin a one-way message of `bytes` where the worker reads it, instead of in the caller's stack; on success no one
 * else sends until session_commit. `*content` is to be filled. */
CUresult session_begin(struct session *session, uint16_t call, size_t bytes, unsigned char **content);
void session_commit(struct session *session, size_t bytes);
/* Send a message and wait for its answer: up to `room` bytes go to `reply`, their number to `*got`. */
CUresult session_ask(struct session *session, uint16_t call, struct bytes request, struct bytes payload,
                     void *reply, size_t room, size_t *got);
/* Take one, waiting until there is one; a number below what `free` was initialized with. */
unsigned places_take(struct places *places);
void places_give(struct places *places, unsigned place);
/* After fork(), in the child: forget the parent's connection. */
void session_abandon(struct session *session);

/* --- device.c: the process's state --- */

/* CUDA_SUCCESS once cuInit was called in this process. */
CUresult runtime_entered(void);
int runtime_device_count(void);
/* The session of a device, opened at need. */
CUresult runtime_session(CUdevice device, struct session **session);
/* The session of a device if it was opened, else NULL. */
struct session *runtime_opened(int ordinal);

/* --- fork.c --- */

/* Register functions for every fork(): called before it, after it in the parent, after it in the child. */
bool fork_watch(void (*before)(void), void (*parent)(void), void (*child)(void));

/* --- context.c --- */

struct context {
    unsigned flags;
    bool primary;
};

CUresult context_primary_new(struct session *session);
/* The session and the (session-local) handle of a program's context; 0 for the current one. */
CUresult context_find(CUcontext context, struct session **session, uint64_t *handle);
CUresult context_current(struct session **session, uint64_t *handle);
/* After fork(), in the child: no context is current. */
void context_forget(void);
/* Whether something new may belong to the context, which another thread may have ended; the table lock is held. */
bool context_live(const struct session *session, uint64_t context);

/* --- call.c: what calls are made of --- */

struct function;

struct call {
    struct session *session;
};

#define HANDLE_ORDINAL_SHIFT HANDLE_BITS
#define HANDLE_KIND_SHIFT 56

/* What the client keeps of a stream, event, module or function; each kind's struct starts with it. */
struct item {
    uint64_t context; /* which it ends with; 0: none */
};

uint64_t public_handle(const struct session *session, enum handle_kind kind, uint64_t handle);
/* Resolve a handle; all handles of one call must be of one session, which becomes the call's. */
CUresult call_handle(struct call *call, enum handle_kind kind, const void *handle, uint64_t *number);
CUresult call_stream(struct call *call, CUstream stream, bool per_thread, uint64_t *number);
/* Resolve a function and take a reference to it, for module.c's function_release. */
CUresult call_function(struct call *call, const void *handle, uint64_t *number, struct function **function);
/* Whether a resolved handle is live still. */
bool call_live(struct call *call, enum handle_kind kind, uint64_t number);
/* The call's session: that of its handles, else that of the current context. */
CUresult call_session(struct call *call);
/* Make `item` in the current context: give it a handle, which is the first field of `request`, and send that. */
CUresult call_create(struct call *call, enum handle_kind kind, struct item *item, uint16_t message, void *request,
                     size_t bytes);
/* A handle of the call's session for what the worker is asked to make; 0 when there is none left. */
uint64_t call_reserve(struct call *call);
CUresult call_send(struct call *call, uint16_t number, const void *request, size_t request_bytes,
                   const void *payload, size_t payload_bytes);
CUresult call_ask(struct call *call, uint16_t number, const void *request, size_t request_bytes,
                  const void *payload, size_t payload_bytes, void *reply, size_t reply_bytes);

/* --- memory.c, host.c, copy.c, stream.c, module.c --- */

/* Keep the books on device memory, whose addresses are reserved in the program; the table lock is held.
 * memory_add: false when they are in use there. */
bool memory_add(struct session *session, struct range range);
bool memory_remove(struct session *session, uint64_t address, struct range *removed);
/* After fork(), in the child: let go of all addresses. */
void memory_forget(struct session *session);
/* Whether a session's device memory holds all of the range; the range's owner and bounds if asked. */
bool memory_owns(struct session *session, uint64_t address, uint64_t bytes, struct range *found);
/* The session whose device memory holds the address: `first` if it does, else any; NULL: none. */
struct session *memory_session(struct session *first, uint64_t address, uint64_t bytes);

enum host_kind { HOST_ARENA = 1, HOST_PLAIN = 2, HOST_REGISTERED = 3 };
struct host_block {
    uint64_t start, bytes;
    enum host_kind kind;
    unsigned flags;
    int ordinal; /* of the session whose arena it is in */
};
/* The pinned block that holds the address; false: it is ordinary memory. */
bool host_find(uint64_t address, struct host_block *block);
/* Around fork(): what is locked then is whole in the child, which has no pinned memory. */
void host_lock(void);
void host_unlock(void);
void host_forget(void);
/* The arena offset of [host, host + bytes) if all of it is pinned in this session's arena. */
bool host_offset(const struct session *session, const void *host, size_t bytes, uint64_t *offset);

CUresult copy_in(struct session *session, uint64_t destination, const void *source, size_t bytes, uint64_t stream);
CUresult copy_out(struct session *session, void *destination, uint64_t source, size_t bytes, uint64_t stream);
/* Put `bytes` into staging and hand them over with `send`, piece by piece. */
CUresult staging_send(struct session *session, const void *source, size_t bytes,
                      CUresult (*send)(struct session *session, uint64_t position, size_t bytes, void *context),
                      void *context);
CUresult stream_wait(struct session *session, uint64_t stream);
/* After fork(), in the child: the thread has no default streams of its own. */
void stream_forget(void);
/* The calling thread's own default stream in this session. */
CUresult stream_of_thread(struct session *session, uint64_t *stream);
void module_item_free(enum handle_kind kind, struct item *item);
void function_release(struct function *function);

/* --- module.c --- */

/* Its module may be unloaded by another thread at any time: the handle table has one reference, each call that uses
 * the function another. */
struct function {
    struct item item;
    atomic_uint references;
    uint64_t module;
    char *name;
    bool layout_known;
    uint32_t parameter_count, parameter_bytes;
    struct { uint16_t offset, bytes; } parameters[]; /* where the device wants them */
};

#endif
