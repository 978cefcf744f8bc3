#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/handshake.h"
#include "worker/clear.h"
#include "worker/cost.h"
#include "worker/isolation.h"
#include "worker/log.h"
#include "worker/loop.h"
#include "worker/memory.h"
#include "worker/object.h"
#include "worker/options.h"
#include "worker/sandbox.h"
#include "worker/span.h"
#include "worker/staging.h"
#include "worker/turn.h"
#include "worker/waiter.h"
#include "worker/watch.h"

/* Exit statuses; 0: the runtime hung up. The agent logs others, see gpupool/agent/session.py. */
enum { NOT_STARTED = 1, WRONG_USAGE = 2, PROTOCOL_BROKEN = 3 };

/* What the host does not allow is the same for every worker: the agent asks once, by --check. What it has no room
 * for now is not: then there is no worker. */
static bool no_room;

static void look_at_missing(const char *part, int error)
{
    if (geteuid() != 0 || (error != ENOSPC && error != ENOMEM && error != EUSERS))
        return; /* a host that allows other users no namespaces may say that there is no room */
    fprintf(stderr, "gpupool-worker: %s: %s\n", part, strerror(error));
    no_room = true;
}

static void print_missing(const char *part, int error)
{
    printf("%s: %s\n", part, strerror(error));
}

static bool isolate(const struct options *options, int library)
{
    struct isolation isolation = {
        .sandbox = (enum sandbox)options->sandbox, .library = library, .uid = (uid_t)options->uid,
    };
    if (geteuid() == 0 && !options->uid) {
        fputs("gpupool-worker: root must give a --uid to run as\n", stderr);
        return false;
    }
    if (isolation_enter(&isolation, options->check ? print_missing : look_at_missing) == 0)
        return !no_room;
    fprintf(stderr, "gpupool-worker: user %d or the capabilities can't be changed: %s\n", options->uid,
            strerror(errno));
    return false;
}

/* Tell the runtime how starting went. */
static void send_ready(const struct session *session, enum result error, const char *message)
{
    struct ready ready = {.magic = HANDSHAKE_MAGIC, .version = HANDSHAKE_VERSION, .error = error};
    snprintf(ready.message, sizeof ready.message, "%s", message);
    if (send(session->connection, &ready, sizeof ready, MSG_NOSIGNAL) != (ssize_t)sizeof ready)
        worker_log(session->id, "the runtime is gone before it was served");
}

static bool fail(const struct session *session, enum result error, const char *what, const char *why)
{
    char message[HANDSHAKE_TEXT];
    snprintf(message, sizeof message, "%s: %s", what, why);
    worker_log(session->id, "%s", message);
    send_ready(session, error, message);
    return false;
}

/* Shared memory that its maker can cut off would let the client kill this process with a signal. */
static bool is_sealed(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_SHRINK);
}

static bool open_shared(struct session *session, const struct options *options)
{
    if (!is_sealed(options->ring))
        return fail(session, RESULT_UNKNOWN, "ring", "not a memfd sealed against shrinking");
    if (!ring_map(&session->ring, options->ring))
        return fail(session, RESULT_UNKNOWN, "ring", strerror(errno));
    session->ledger = ledger_open(options->ledger, (unsigned)options->slot);
    if (!session->ledger)
        return fail(session, RESULT_UNKNOWN, "ledger", strerror(errno));
    if (options->device_state >= 0 && !(session->device_state = device_state_map(options->device_state)))
        return fail(session, RESULT_UNKNOWN, "device's state", strerror(errno));
    return true;
}

/* Charge what opening the session takes: of the host's memory always, of the device's for a context that is
 * not in the device's reserve. */
static bool charge_opening(const struct session *session, const struct options *options)
{
    uint64_t host = session->ring.bytes + COST_SESSION, context = (uint64_t)options->context_mib << 20;
    uint64_t free_bytes, total_bytes;
    char why[128];
    if (!ledger_take_host(session->ledger, host)) {
        snprintf(why, sizeof why, "the vGPU's sessions hold all that they may; %llu MiB more are needed",
                 (unsigned long long)(host >> 20));
        return fail(session, RESULT_OUT_OF_MEMORY, "host memory", why);
    }
    if (ledger_take(session->ledger, context))
        return true;
    ledger_memory(session->ledger, &free_bytes, &total_bytes);
    snprintf(why, sizeof why, "a session's context takes %d MiB of the vGPU; %llu of its %llu MiB are free",
             options->context_mib, (unsigned long long)(free_bytes >> 20), (unsigned long long)(total_bytes >> 20));
    return fail(session, RESULT_OUT_OF_MEMORY, "device memory", why);
}

static bool open_device(struct session *session, const struct options *options, const char *library)
{
    char why[128] = "";
    enum result result = session->backend->open(library, options->ordinal, &session->device, why, sizeof why);
    return result == RESULT_OK || fail(session, result, "device", why);
}

/* Pin what the device reads and writes all the time. */
static void pin(struct session *session)
{
    const struct ring *ring = &session->ring;
    session->backend->pin(session->device, ring->slots, sizeof(struct slot) * RING_SLOTS);
    session->backend->pin(session->device, ring->arena, ring->heap_at);
}

static bool make_parts(struct session *session)
{
    session->default_stream = (struct object){.references = 1, .kind = HANDLE_STREAM};
    session->staging = staging_new();
    session->waiters = waiters_new(session);
    session->arbiter = arbiter_new(session->ledger, session->device_state);
    if (!session->staging || !session->waiters || !session->arbiter || !turns_open(session) || !spans_open(session) || !clear_open(session))
        return fail(session, RESULT_OUT_OF_MEMORY, "worker", "out of memory");
    pin(session);
    return true;
}

/* From here on code of the tenant may run, and what it prints must not get into the agent's log. Nothing can be
 * written to standard input; only the reports of sanitizers, which no installed worker has, still go to standard
 * error. */
static bool enter_sandbox(struct session *session, const struct options *options)
{
    fflush(NULL);
    dup2(STDIN_FILENO, STDOUT_FILENO);
#if !defined(__SANITIZE_ADDRESS__)
    dup2(STDIN_FILENO, STDERR_FILENO);
#endif
    if (sandbox_enter((enum sandbox)options->sandbox, options->ledger, options->control) != 0)
        return fail(session, RESULT_UNKNOWN, "sandbox", strerror(errno));
    return true;
}

static bool start_watch(struct session *session)
{
    return watch_start(session) || fail(session, RESULT_OUT_OF_MEMORY, "worker", "no thread");
}

static void free_items(struct session *session)
{
    struct handle_walk walk = {0};
    while (handle_next(&session->handles, &walk)) {
        if (walk.kind == HANDLE_STREAM || walk.kind == HANDLE_EVENT)
            object_release(session, walk.object);
        else
            session->api->end_item(session, walk.kind, walk.object);
    }
    handle_table_clear(&session->handles);
}

static void end(struct session *session)
{
    spans_finish(session);
    memory_free_all(session);
    free_items(session);
    session->backend->close(session->device);
    /* All it was charged for is gone. */
    ledger_give(session->ledger, UINT64_MAX);
    ledger_give_host(session->ledger, UINT64_MAX);
}

/* Where the library can be opened from after isolation: by its own path or, where that can't be reached any more,
 * by the descriptor it was opened with before, which then stays open. */
static const char *reachable(const char *library, int file, char path[32])
{
    if (file >= 0 && access(library, R_OK) != 0) {
        snprintf(path, 32, "/proc/self/fd/%d", file);
        return path;
    }
    if (file >= 0)
        close(file);
    return library;
}

static int serve(struct session *session, const struct options *options, const char *library)
{
    session->id = options->session;
    session->connection = options->connection;
    pthread_mutex_init(&session->control_lock, NULL);
    control_open(&session->control, options->control);
    session->granule = (uint64_t)options->granule;
    if (!open_shared(session, options) || !charge_opening(session, options) ||
        !open_device(session, options, library) || !make_parts(session) || !enter_sandbox(session, options) ||
        !start_watch(session))
        return NOT_STARTED;
    send_ready(session, RESULT_OK, "");
    bool sound = loop_run(session);
    end(session);
    return sound ? 0 : PROTOCOL_BROKEN;
}

/* The agent bounds this process before it serves anybody: standard input ends when that is done. */
static void wait_to_begin(void)
{
    char nothing;
    while (read(STDIN_FILENO, &nothing, 1) == -1 && errno == EINTR)
        continue;
}

int worker_main(int count, char **arguments, const struct api *api)
{
    static struct session session;
    struct options options;
    char path[32];
    int file = -1;
    session.api = api;
    session.backend = api->backend;
    signal(SIGPIPE, SIG_IGN);
    if (!options_read(count, arguments, &options)) {
        options_print_usage();
        return WRONG_USAGE;
    }
    if (options.library && strchr(options.library, '/'))
        file = open(options.library, O_RDONLY | O_CLOEXEC);
    if (!options.check)
        wait_to_begin();
    if (!isolate(&options, file))
        return NOT_STARTED;
    if (options.check)
        return 0;
    int status = serve(&session, &options, reachable(options.library, file, path));
    /* Waiting threads still run: leave without the library's own end. */
    fflush(stderr);
    _exit(status);
}
