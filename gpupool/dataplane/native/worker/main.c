/* gpupool-worker: serves one session on one device; started by the agent (gpupool/dataplane/worker.py). */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/futex.h"
#include "wire/handshake.h"
#include "worker/clear.h"
#include "worker/cost.h"
#include "worker/cuda/driver.h"
#include "worker/isolation.h"
#include "worker/log.h"
#include "worker/session.h"
#include "worker/span.h"
#include "worker/staging.h"
#include "worker/waiter.h"

#define ENDING_SECONDS 2 /* for freeing what the client left; the device's driver frees the rest */

/* Exit statuses; 0: the runtime hung up. The agent logs others, see gpupool/agent/session.py. */
enum { NOT_STARTED = 1, WRONG_USAGE = 2, PROTOCOL_BROKEN = 3 };

struct options {
    const char *session, *library;
    int ordinal, ledger, slot, connection, ring, context_mib, granule, uid, sandbox;
    bool check;
};

static const char *const sandboxes[SANDBOX_COUNT] = {
    [SANDBOX_REFERENCE] = "reference",
    [SANDBOX_NVIDIA] = "nvidia",
};

static bool read_number(const char *text, int *number)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < 0 || value > INT_MAX)
        return false;
    *number = (int)value;
    return true;
}

static bool read_sandbox(const char *name, int *sandbox)
{
    for (*sandbox = 0; *sandbox < SANDBOX_COUNT; ++*sandbox)
        if (strcmp(name, sandboxes[*sandbox]) == 0)
            return true;
    return false;
}

static bool read_option(int letter, const char *text, struct options *options)
{
    switch (letter) {
    case 's': options->session = text; return true;
    case 'L': options->library = text; return true;
    case 'S': return read_sandbox(text, &options->sandbox);
    case 'o': return read_number(text, &options->ordinal);
    case 'l': return read_number(text, &options->ledger);
    case 'n': return read_number(text, &options->slot);
    case 'c': return read_number(text, &options->connection);
    case 'r': return read_number(text, &options->ring);
    case 'm': return read_number(text, &options->context_mib) && options->context_mib <= 1 << 20;
    case 'g': return read_number(text, &options->granule) && options->granule >= (int)MEMORY_UNIT;
    case 'u': return read_number(text, &options->uid) && options->uid > 0;
    case 'k': options->check = true; return true;
    default: return false;
    }
}

static bool read_options(int count, char **arguments, struct options *options)
{
    static const struct option names[] = {
        {"session", required_argument, NULL, 's'}, {"library", required_argument, NULL, 'L'},
        {"ordinal", required_argument, NULL, 'o'}, {"ledger", required_argument, NULL, 'l'},
        {"slot", required_argument, NULL, 'n'}, {"connection", required_argument, NULL, 'c'},
        {"ring", required_argument, NULL, 'r'}, {"context-mib", required_argument, NULL, 'm'},
        {"granule", required_argument, NULL, 'g'}, {"sandbox", required_argument, NULL, 'S'}, {"uid", required_argument, NULL, 'u'},
        {"check", no_argument, NULL, 'k'}, {NULL, 0, NULL, 0},
    };
    int letter;
    *options = (struct options){
        .ordinal = -1, .ledger = -1, .slot = -1, .connection = -1, .ring = -1, .context_mib = -1, .sandbox = -1,
        .granule = MEMORY_UNIT,
    };
    while ((letter = getopt_long(count, arguments, "", names, NULL)) != -1)
        if (!read_option(letter, optarg, options))
            return false;
    if (optind != count || options->sandbox < 0)
        return false;
    return options->check || (options->session && options->library && options->ordinal >= 0 && options->ledger >= 0 &&
                              options->slot >= 0 && options->connection >= 0 && options->ring >= 0 &&
                              options->context_mib >= 0);
}

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
    fprintf(stderr, "gpupool-worker: user %d or the capabilities can't be changed: %s\n", options->uid, strerror(errno));
    return false;
}

/* Tell the runtime how starting went. */
static void send_ready(const struct session *session, CUresult error, const char *message)
{
    struct ready ready = {.magic = HANDSHAKE_MAGIC, .version = HANDSHAKE_VERSION, .error = error};
    snprintf(ready.message, sizeof ready.message, "%s", message);
    if (send(session->connection, &ready, sizeof ready, MSG_NOSIGNAL) != (ssize_t)sizeof ready)
        worker_log(session->id, "the runtime is gone before it was served");
}

static bool fail(const struct session *session, CUresult error, const char *what, const char *why)
{
    char message[HANDSHAKE_TEXT];
    snprintf(message, sizeof message, "%s: %s", what, why);
    worker_log(session->id, "%s", message);
    send_ready(session, error, message);
    return false;
}

static bool fail_cuda(const struct session *session, CUresult error, const char *what)
{
    char number[32];
    snprintf(number, sizeof number, "CUDA error %d", error);
    return fail(session, error, what, number);
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
        return fail(session, CUDA_ERROR_UNKNOWN, "ring", "not a memfd sealed against shrinking");
    if (!ring_map(&session->ring, options->ring))
        return fail(session, CUDA_ERROR_UNKNOWN, "ring", strerror(errno));
    session->ledger = ledger_open(options->ledger, (unsigned)options->slot);
    if (!session->ledger)
        return fail(session, CUDA_ERROR_UNKNOWN, "ledger", strerror(errno));
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
        return fail(session, CUDA_ERROR_OUT_OF_MEMORY, "host memory", why);
    }
    if (ledger_take(session->ledger, context))
        return true;
    ledger_memory(session->ledger, &free_bytes, &total_bytes);
    snprintf(why, sizeof why, "a session's context takes %d MiB of the vGPU; %llu of its %llu MiB are free",
             options->context_mib, (unsigned long long)(free_bytes >> 20), (unsigned long long)(total_bytes >> 20));
    return fail(session, CUDA_ERROR_OUT_OF_MEMORY, "device memory", why);
}

static bool open_device(struct session *session, const struct options *options, const char *library)
{
    struct driver *driver = &session->driver;
    /* What a module takes is charged when it is loaded, so it must be taken then. */
    setenv("CUDA_MODULE_LOADING", "EAGER", 1);
    session->library = driver_open(library, driver);
    if (!session->library)
        return fail(session, CUDA_ERROR_UNKNOWN, "device library", dlerror());
    CUresult result = driver->cuInit(0);
    if (result == CUDA_SUCCESS)
        result = driver->cuDeviceGet(&session->device, options->ordinal);
    /* Threads that wait for the device sleep: the processors are the programs'. */
    if (result == CUDA_SUCCESS)
        result = driver->cuDevicePrimaryCtxSetFlags(session->device, CU_CTX_SCHED_BLOCKING_SYNC);
    if (result == CUDA_SUCCESS)
        result = driver->cuDevicePrimaryCtxRetain(&session->context, session->device);
    if (result == CUDA_SUCCESS)
        result = driver->cuCtxSetCurrent(session->context);
    if (result != CUDA_SUCCESS)
        return fail_cuda(session, result, "opening the device");
    return true;
}

/* Pin what the device reads and writes all the time. A device that can't pin works all the same. */
static void pin(struct session *session)
{
    const struct ring *ring = &session->ring;
    session->driver.cuMemHostRegister_v2(ring->slots, sizeof(struct slot) * RING_SLOTS, CU_MEMHOSTREGISTER_PORTABLE);
    session->driver.cuMemHostRegister_v2(ring->arena, ring->heap_at, CU_MEMHOSTREGISTER_PORTABLE);
}

static bool make_parts(struct session *session)
{
    session->default_stream = (struct object){.references = 1, .kind = HANDLE_STREAM};
    session->staging = staging_new();
    session->waiters = waiters_new(session);
    session->arbiter = arbiter_new(session->ledger);
    if (!session->staging || !session->waiters || !session->arbiter || !spans_open(session) || !clear_open(session))
        return fail(session, CUDA_ERROR_OUT_OF_MEMORY, "worker", "out of memory");
    pin(session);
    return true;
}

/* From here on code of the tenant may run, and what it prints must not get into the agent's log. Nothing can be
 * written to standard input; only the reports of sanitizers, which no installed worker has, still go to standard error. */
static bool enter_sandbox(struct session *session, const struct options *options)
{
    fflush(NULL);
    dup2(STDIN_FILENO, STDOUT_FILENO);
#if !defined(__SANITIZE_ADDRESS__)
    dup2(STDIN_FILENO, STDERR_FILENO);
#endif
    if (sandbox_enter((enum sandbox)options->sandbox, options->ledger) != 0)
        return fail(session, CUDA_ERROR_UNKNOWN, "sandbox", strerror(errno));
    return true;
}

/* Ends the session when the runtime hangs up, in any way and whatever the main thread does. */
static void *watch(void *argument)
{
    struct session *session = argument;
    struct pollfd connection = {.fd = session->connection, .events = POLLIN};
    while (poll(&connection, 1, -1) < 0 && errno == EINTR)
        continue;
    atomic_store(&session->ended, true);
    futex_wake(&session->ring.control->head, 1);
    sleep(ENDING_SECONDS);
    /* The ledger's lock may be held by a worker that is stopped: its end is not to be waited for. */
    alarm(ENDING_SECONDS);
    spans_abandon(session);
    _exit(0);
}

static bool start_watch(struct session *session)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, watch, session) != 0)
        return fail(session, CUDA_ERROR_OUT_OF_MEMORY, "worker", "no thread");
    pthread_detach(thread);
    return true;
}

static void end(struct session *session)
{
    spans_finish(session);
    memory_free_all(session);
    modules_free_all(session);
    session->driver.cuDevicePrimaryCtxRelease(session->device);
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
    session->granule = (uint64_t)options->granule;
    if (!open_shared(session, options) || !charge_opening(session, options) ||
        !open_device(session, options, library) || !make_parts(session) || !enter_sandbox(session, options) ||
        !start_watch(session))
        return NOT_STARTED;
    send_ready(session, CUDA_SUCCESS, "");
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

int main(int count, char **arguments)
{
    static struct session session;
    struct options options;
    char path[32];
    int file = -1;
    signal(SIGPIPE, SIG_IGN);
    if (!read_options(count, arguments, &options)) {
        fputs("usage: gpupool-worker --sandbox reference|nvidia [--uid N] --session ID --library PATH --ordinal N "
              "--ledger FD --slot N --connection FD --ring FD --context-mib N [--granule BYTES]\n"
              "       gpupool-worker --sandbox reference|nvidia [--uid N] --check\n", stderr);
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
