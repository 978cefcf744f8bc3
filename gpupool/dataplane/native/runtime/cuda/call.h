/* What calls are made of. The program's handles are numbers: kind, ordinal of the session, and the handle that the
 * worker knows. */
#ifndef GPUPOOL_RUNTIME_CUDA_CALL_H
#define GPUPOOL_RUNTIME_CUDA_CALL_H

#include "cuda/cuda_abi.h"
#include "runtime/session.h"

struct call {
    struct session *session;
};

/* What the client keeps of a stream, event, module or function; each kind's struct starts with it. */
struct item {
    uint64_t context; /* which it ends with; 0: none */
};

uint64_t public_handle(const struct session *session, enum handle_kind kind, uint64_t handle);
/* Tell which number in which session a handle is, live or not; all handles of one call must be of one session, which
 * becomes the call's. */
CUresult call_resolve(struct call *call, enum handle_kind kind, const void *handle, uint64_t *number);
/* The same of a handle that is live. */
CUresult call_handle(struct call *call, enum handle_kind kind, const void *handle, uint64_t *number);
/* Whether a resolved handle is live still. */
bool call_live(struct call *call, enum handle_kind kind, uint64_t number);
/* The call's session: that of its handles, else that of the current context. */
CUresult call_session(struct call *call);
/* Make `item` in the current context: give it a handle, which is the first field of `request`, and send that. */
CUresult call_create(struct call *call, enum handle_kind kind, struct item *item, uint16_t message, void *request,
                     size_t bytes);
/* Take a handle out of the table and tell the worker by `message`; false when another thread was faster. */
bool call_drop(struct session *session, enum handle_kind kind, uint64_t number, uint16_t message);
/* The same of a handle of the program's, whose item was allocated. */
CUresult call_destroy(enum handle_kind kind, const void *handle, uint16_t message);
/* A handle of the call's session for what the worker is asked to make; 0 when there is none left. */
uint64_t call_reserve(struct call *call);
/* Drop a reserved handle whose object the worker did not create. */
void call_unreserve(struct call *call, uint64_t number);
CUresult call_send(struct call *call, uint16_t number, const void *request, size_t request_bytes,
                   const void *payload, size_t payload_bytes);
CUresult call_ask(struct call *call, uint16_t number, const void *request, size_t request_bytes,
                  const void *payload, size_t payload_bytes, void *reply, size_t reply_bytes);

/* The session and the (session-local) handle of a program's context; NULL for the current one. */
CUresult context_find(CUcontext context, struct session **session, uint64_t *handle);
CUresult context_current(struct session **session, uint64_t *handle);
/* Whether something new may belong to the context, which another thread may have ended; the table lock is held. */
bool context_live(const struct session *session, uint64_t context);

#endif
