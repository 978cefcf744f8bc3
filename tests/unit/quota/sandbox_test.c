/* Enters the sandbox with a second thread running, then tries what must and what must not work. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "worker/sandbox.h"

#define DENIED(call)                                                                                \
    do {                                                                                            \
        errno = 0;                                                                                  \
        CHECK((call) == -1 && errno == EPERM);                                                      \
    } while (0)

extern char **environ;
static pthread_barrier_t entered;

static void *early_thread(void *unused)
{
    pthread_barrier_wait(&entered);
    DENIED(socket(AF_UNIX, SOCK_STREAM, 0));
    return unused;
}

static void *late_thread(void *done)
{
    *(int *)done = 1;
    return NULL;
}

/* A signal of any number to any process of the same user, by way of a descriptor. */
static void check_no_signals_by_descriptors(int connection)
{
    struct f_owner_ex owner = {.type = F_OWNER_PID, .pid = getppid()};
    int pid = getppid();

    DENIED(fcntl(connection, F_SETOWN, pid));
    DENIED(fcntl(connection, F_SETOWN_EX, &owner));
    DENIED(fcntl(connection, F_SETSIG, SIGKILL));
    DENIED(ioctl(connection, FIOSETOWN, &pid));
    DENIED(ioctl(connection, SIOCSPGRP, &pid));
    CHECK(fcntl(connection, F_GETFL) >= 0);
    CHECK(ioctl(connection, FIONREAD, &pid) == 0);
}

static void check_no_reach_into_others(void)
{
    struct sched_param parameters = {.sched_priority = 0};
    cpu_set_t set;

    CHECK(!sched_getaffinity(0, sizeof set, &set));
    DENIED(sched_setaffinity(getppid(), sizeof set, &set));
    CHECK(!sched_setaffinity(0, sizeof set, &set));
    DENIED(sched_setparam(getppid(), &parameters));
    DENIED(sched_setscheduler(getppid(), SCHED_OTHER, &parameters));
    DENIED(setpriority(PRIO_PROCESS, (id_t)getppid(), 19));
    DENIED(syscall(SYS_ioprio_set, 1, getppid(), 0));
    DENIED(syscall(SYS_migrate_pages, getppid(), 0, NULL, NULL));
    DENIED(syscall(SYS_move_pages, getppid(), 0, NULL, NULL, NULL, 0));
}

static void check_denied(void)
{
    char *program[] = {"/bin/true", NULL};
    pid_t child;

    DENIED(execve(*program, program, environ));
    DENIED(fork());
    CHECK(posix_spawn(&child, *program, NULL, NULL, program, environ) == EPERM);
    DENIED(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
    DENIED(kill(getppid(), 0));
    DENIED(syscall(SYS_tgkill, getppid(), getppid(), 0));
    DENIED(syscall(SYS_pidfd_open, getppid(), 0));
    DENIED(mount("none", "/mnt", "tmpfs", 0, NULL));
    DENIED(unshare(CLONE_NEWUSER));
    DENIED(socket(AF_INET, SOCK_STREAM, 0));
    DENIED(socket(AF_UNIX, SOCK_SEQPACKET, 0));
    DENIED(syscall(SYS_bpf, 0, NULL, 0));
    DENIED(syscall(SYS_io_uring_setup, 1, NULL));
    DENIED(syscall(SYS_prlimit64, getppid(), RLIMIT_CORE, NULL, NULL));
}

static void check_allowed(int connection)
{
    struct rlimit limit;
    pthread_t thread;
    int done = 0, word = 0, memory;
    char *mapped;

    CHECK(!pthread_create(&thread, NULL, late_thread, &done) && !pthread_join(thread, NULL) && done);
    memory = memfd_create("test", MFD_CLOEXEC);
    CHECK(memory >= 0 && !ftruncate(memory, 4096));
    mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    CHECK(mapped != MAP_FAILED);
    CHECK(!mprotect(mapped, 4096, PROT_READ | PROT_WRITE | PROT_EXEC));
    CHECK(syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0) == 0);
    CHECK(send(connection, "x", 1, 0) == 1);
    CHECK(open("/dev/null", O_RDWR) >= 0);
    CHECK(!getrlimit(RLIMIT_CORE, &limit) && limit.rlim_max == 0);
    CHECK(!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_max <= 4096);
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
}

int main(int count, char **arguments)
{
    pthread_t early;
    int pair[2];

    CHECK(count == 2);
    CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
    CHECK(!pthread_barrier_init(&entered, NULL, 2));
    CHECK(!pthread_create(&early, NULL, early_thread, NULL));
    CHECK(sandbox_enter() == 0);
    pthread_barrier_wait(&entered);
    CHECK(!pthread_join(early, NULL));
    check_denied();
    check_no_signals_by_descriptors(pair[0]);
    check_no_reach_into_others();
    check_allowed(pair[0]);
    if (!strcmp(arguments[1], "abort"))
        abort();
#if defined(__x86_64__)
    if (!strcmp(arguments[1], "x32"))
        syscall(0x40000000 | SYS_getpid);
#endif
    CHECK(sandbox_enter() == 0);
    puts("done");
    return 0;
}
