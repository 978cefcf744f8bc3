/* Enters the sandbox with a second thread running, then tries what must and what must not work. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sockios.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
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
static pid_t parent; /* getppid() is denied, too */

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
    struct f_owner_ex owner = {.type = F_OWNER_PID, .pid = parent};
    int pid = parent;

    DENIED(fcntl(connection, F_SETOWN, pid));
    DENIED(fcntl(connection, F_SETOWN_EX, &owner));
    DENIED(fcntl(connection, F_SETSIG, SIGKILL));
    DENIED(ioctl(connection, FIOSETOWN, &pid));
    DENIED(ioctl(connection, SIOCSPGRP, &pid));
    CHECK(fcntl(connection, F_GETFL) >= 0);
}

static void check_no_reach_into_others(void)
{
    struct sched_param parameters = {.sched_priority = 0};
    struct rlimit limit;
    cpu_set_t set;

    CHECK(!sched_getaffinity(0, sizeof set, &set));
    DENIED(sched_setaffinity(parent, sizeof set, &set));
    CHECK(!sched_setaffinity(0, sizeof set, &set));
    DENIED(sched_setparam(parent, &parameters));
    DENIED(sched_setscheduler(parent, SCHED_OTHER, &parameters));
    DENIED(setpriority(PRIO_PROCESS, (id_t)parent, 19));
    DENIED(syscall(SYS_ioprio_set, 1, parent, 0));
    DENIED(syscall(SYS_migrate_pages, parent, 0, NULL, NULL));
    DENIED(syscall(SYS_move_pages, parent, 0, NULL, NULL, NULL, 0));
    DENIED(syscall(SYS_prlimit64, parent, RLIMIT_CORE, NULL, &limit));
    DENIED(ptrace(PTRACE_ATTACH, parent, NULL, NULL));
    DENIED(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    DENIED(kill(parent, 0));
    DENIED(syscall(SYS_tkill, parent, 0));
    DENIED(syscall(SYS_tgkill, parent, parent, 0));
    DENIED(syscall(SYS_rt_sigqueueinfo, parent, 0, NULL));
    DENIED(syscall(SYS_pidfd_open, parent, 0));
    DENIED(syscall(SYS_process_vm_readv, parent, NULL, 0, NULL, 0, 0));
    DENIED(syscall(SYS_process_vm_writev, parent, NULL, 0, NULL, 0, 0));
    DENIED(syscall(SYS_kcmp, parent, parent, 0, 0, 0));
}

/* What outlives the process, or reaches another one without the file system. */
static void check_nothing_to_leave_or_share(void)
{
    DENIED(shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600));
    DENIED(msgget(IPC_PRIVATE, IPC_CREAT | 0600));
    DENIED(semget(IPC_PRIVATE, 1, IPC_CREAT | 0600));
    DENIED(mq_open("/gpupool-sandbox-test", O_RDWR | O_CREAT, 0600, NULL));
    DENIED(socket(AF_INET, SOCK_STREAM, 0));
    DENIED(socket(AF_UNIX, SOCK_SEQPACKET, 0));
}

static void check_denied(void)
{
    char *program[] = {"/bin/true", NULL};
    pid_t child;

    DENIED(execve(*program, program, environ));
    DENIED(fork());
    CHECK(posix_spawn(&child, *program, NULL, NULL, program, environ) == EPERM);
    DENIED(mount("none", "/mnt", "tmpfs", 0, NULL));
    DENIED(unshare(CLONE_NEWUSER));
    DENIED(syscall(SYS_bpf, 0, NULL, 0));
    DENIED(syscall(SYS_io_uring_setup, 1, NULL));
    DENIED(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
    DENIED(prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0));
    errno = 0;
    CHECK(syscall(SYS_clone3, NULL, 0) == -1 && errno == ENOSYS);
}

/* What only an allow list denies. */
static void check_not_listed(int connection)
{
    char control[CMSG_SPACE(sizeof connection)];
    struct msghdr message = {.msg_control = control, .msg_controllen = sizeof control};
    int pair[2];

    DENIED(open("/dev/null", O_RDWR));
    DENIED(open("/dev/null", O_WRONLY));
    DENIED(open("/tmp/gpupool-sandbox-test", O_RDONLY | O_CREAT, 0600));
    DENIED(open("/tmp", O_RDONLY | O_TMPFILE, 0600));
    DENIED(shm_open("/gpupool-sandbox-test", O_RDWR | O_CREAT, 0600));
    DENIED(mkdir("/tmp/gpupool-sandbox-test", 0700));
    DENIED(symlink("/", "/tmp/gpupool-sandbox-test"));
    DENIED(link("/etc/passwd", "/tmp/gpupool-sandbox-test"));
    DENIED(rename("/tmp/gpupool-sandbox-test", "/tmp/gpupool-sandbox-test2"));
    DENIED(unlink("/tmp/gpupool-sandbox-test"));
    DENIED(chmod("/tmp/gpupool-sandbox-test", 0600));
    DENIED(mkfifo("/tmp/gpupool-sandbox-test", 0600));
    DENIED(syscall(SYS_memfd_create, "test", MFD_HUGETLB));
    CHECK(mmap(NULL, 2 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0) == MAP_FAILED);
    CHECK(errno == EPERM);
    DENIED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    DENIED(recvmsg(connection, &message, 0)); /* would take descriptors that the tenant's program sends */
    DENIED(ioctl(connection, FIONREAD, pair));
    DENIED(setuid(getuid()));
    DENIED(chdir("/"));
    DENIED(dup(connection));
    DENIED(mlock(pair, sizeof pair));
    DENIED(syscall(SYS_io_setup, 1, pair));
#if defined(__x86_64__)
    DENIED(syscall(SYS_modify_ldt, 0, NULL, 0));
#endif
}

/* A file of the agent's on its own disk: its length is not the worker's to change, by whatever descriptor. */
static void check_ledger(enum sandbox sandbox, int ledger)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    struct iovec piece = {.iov_base = (char[]){"x"}, .iov_len = 1};
    char *mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ledger, 0);
    int other = memfd_create("other", MFD_CLOEXEC);

    CHECK(mapped != MAP_FAILED && other >= 0 && write(other, "x", 1) == 1);
    DENIED(write(ledger, "x", 1));
    DENIED(writev(ledger, &piece, 1));
    DENIED(pwrite(ledger, "x", 1, 4096));
    DENIED(syscall(SYS_pwritev, ledger, &piece, 1, 4096, 0));
    DENIED(syscall(SYS_pwritev2, ledger, &piece, 1, 4096, 0, 0));
    DENIED(ftruncate(ledger, 1 << 20));
    DENIED(syscall(SYS_fallocate, ledger, 0, 0, 1 << 20));
    DENIED(syscall(SYS_sendfile, ledger, other, NULL, 1));
    DENIED(syscall(SYS_copy_file_range, other, NULL, ledger, NULL, 1, 0));
    DENIED(syscall(SYS_splice, other, NULL, ledger, NULL, 1, 0));
    DENIED(dup(ledger));
    DENIED(dup3(ledger, 100, 0));
    DENIED(fcntl(ledger, F_DUPFD, 0));
    DENIED(fcntl(ledger, F_DUPFD_CLOEXEC, 0));
    CHECK(fcntl(ledger, F_SETLK, &lock) == 0 && fcntl(ledger, F_GETLK, &lock) == 0);
    lock.l_type = F_WRLCK;
    if (sandbox == SANDBOX_REFERENCE) {
        DENIED(fcntl(other, F_SETLK, &lock));
        DENIED(fcntl(other, F_SETLKW, &lock));
        DENIED(msync(mapped, 4096, MS_SYNC));
        DENIED(madvise(mapped, 4096, MADV_MERGEABLE));
    }
    *mapped = 1;
    CHECK(!msync(mapped, 4096, MS_ASYNC) && !madvise(mapped, 4096, MADV_DONTNEED) && *mapped == 1);
}

static void check_allowed(int connection)
{
    struct rlimit limit;
    pthread_t thread;
    int done = 0, word = 0, memory;
    char *mapped;

    CHECK(!pthread_create(&thread, NULL, late_thread, &done) && !pthread_join(thread, NULL) && done);
    memory = memfd_create("test", MFD_CLOEXEC);
    CHECK(memory >= 0 && write(memory, "x", 1) == 1);
    mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    CHECK(mapped != MAP_FAILED && *mapped == 'x');
    CHECK(!mprotect(mapped, 4096, PROT_READ | PROT_WRITE | PROT_EXEC));
    CHECK(syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0) == 0);
    CHECK(send(connection, "x", 1, 0) == 1);
    CHECK(open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0);
    CHECK(!getrlimit(RLIMIT_CORE, &limit) && limit.rlim_max == 0);
    CHECK(!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_max <= 4096);
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
}

/* The agent connects there; nothing else in reach of a worker can be accepted at. */
static void check_control(int control, int connection)
{
    DENIED(accept4(connection, NULL, NULL, 0));
    DENIED(accept(control, NULL, NULL));
    CHECK(accept4(control, NULL, NULL, SOCK_NONBLOCK) == -1 && errno == EAGAIN);
}

static int listen_unnamed(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);

    /* An address without a name has the kernel choose one. */
    CHECK(listener >= 0 && !bind(listener, (struct sockaddr *)&address, sizeof address.sun_family));
    CHECK(!listen(listener, 1));
    return listener;
}

int main(int count, char **arguments)
{
    enum sandbox sandbox;
    pthread_t early;
    int pair[2], control, ledger = memfd_create("ledger", MFD_CLOEXEC);

    CHECK(count == 3 && ledger >= 0 && !ftruncate(ledger, 4096));
    sandbox = strcmp(arguments[1], "nvidia") ? SANDBOX_REFERENCE : SANDBOX_NVIDIA;
    parent = getppid();
    CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
    CHECK(!pthread_barrier_init(&entered, NULL, 2));
    CHECK(!pthread_create(&early, NULL, early_thread, NULL));
    control = listen_unnamed();
    CHECK(sandbox_enter(sandbox, ledger, control) == 0);
    pthread_barrier_wait(&entered);
    CHECK(!pthread_join(early, NULL));
    check_denied();
    check_control(control, pair[0]);
    check_no_signals_by_descriptors(pair[0]);
    check_no_reach_into_others();
    check_nothing_to_leave_or_share();
    if (sandbox == SANDBOX_REFERENCE)
        check_not_listed(pair[0]);
    check_ledger(sandbox, ledger);
    check_allowed(pair[0]);
    if (!strcmp(arguments[2], "abort"))
        abort();
#if defined(__x86_64__)
    if (!strcmp(arguments[2], "x32"))
        syscall(0x40000000 | SYS_getpid);
#endif
    puts("done");
    return 0;
}
