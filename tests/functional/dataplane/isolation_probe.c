/* A hostile tenant's kernel: tries to reach other processes and to leave something behind. Writes one line for
 * each attempt, its name and the error number; 0: it succeeded. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <refcuda_kernel.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char *end;

#define TRY(name, call)                                                                              \
    do {                                                                                             \
        errno = 0;                                                                                   \
        long result = (long)(call);                                                                  \
        end += sprintf(end, "%s %d\n", name, result == -1 || !result ? errno : 0);                   \
    } while (0)

static int open_of(long pid, const char *file, int flags)
{
    char path[100];
    snprintf(path, sizeof path, "/proc/%ld/%s", pid, file);
    return open(path, flags);
}

static void reach(long other)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)0x1000, 1};
    TRY("mem", open_of(other, "mem", O_RDONLY));
    TRY("maps", open_of(other, "maps", O_RDONLY));
    TRY("environ", open_of(other, "environ", O_RDONLY));
    TRY("cmdline", open_of(other, "cmdline", O_RDONLY));
    TRY("status", open_of(other, "status", O_RDONLY));
    TRY("fd", open_of(other, "fd", O_RDONLY));
    TRY("ptrace", ptrace(PTRACE_SEIZE, other, 0, 0));
    TRY("process_vm_readv", process_vm_readv((pid_t)other, &here, 1, &there, 1, 0));
    TRY("process_vm_writev", process_vm_writev((pid_t)other, &here, 1, &there, 1, 0));
    TRY("pidfd", syscall(SYS_pidfd_open, other, 0));
    TRY("kill", kill((pid_t)other, SIGCONT));
    TRY("tgkill", syscall(SYS_tgkill, other, other, SIGCONT));
}

static void leave_something(void)
{
    TRY("shm_open", shm_open("/gpupool-probe", O_RDWR | O_CREAT, 0600));
    TRY("shmget", shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600));
    TRY("msgget", msgget(IPC_PRIVATE, IPC_CREAT | 0600));
    TRY("semget", semget(IPC_PRIVATE, 1, IPC_CREAT | 0600));
    TRY("mq_open", mq_open("/gpupool-probe", O_RDWR | O_CREAT, 0600, NULL));
    TRY("file in /tmp", open("/tmp/gpupool-probe", O_RDWR | O_CREAT, 0600));
    TRY("file in /dev/shm", open("/dev/shm/gpupool-probe", O_RDWR | O_CREAT, 0600));
    TRY("folder", mkdir("/tmp/gpupool-probe", 0700));
}

static void gain_something(void)
{
    TRY("socket", socket(AF_INET, SOCK_STREAM, 0));
    TRY("unix socket", socket(AF_UNIX, SOCK_STREAM, 0));
    TRY("setuid", setuid(0) ?: 1);
    TRY("dumpable", prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) ?: 1);
    TRY("mount", mount("none", "/tmp", "tmpfs", 0, NULL) ?: 1);
    TRY("unshare", unshare(CLONE_NEWUSER) ?: 1);
    TRY("fork", fork());
    TRY("execve", execl("/bin/true", "true", (char *)0));
    TRY("passwd", open("/etc/passwd", O_RDONLY));
    TRY("hosts", open("/root", O_RDONLY | O_DIRECTORY));
    TRY("process list", open("/proc", O_RDONLY | O_DIRECTORY));
    TRY("sys", open("/sys", O_RDONLY | O_DIRECTORY));
}

REFCUDA_KERNEL(probe, (char *, out), (long, other))
{
    end = out;
    reach(other);
    leave_something();
    gain_something();
    const char *line = "a line of the tenant's\n";
    for (int descriptor = 1; descriptor <= 2; descriptor++)
        if (write(descriptor, line, strlen(line)) < 0)
            end += sprintf(end, "write %d\n", errno);
}
