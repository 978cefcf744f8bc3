#include "worker/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "worker/filter.h"

#define OPEN_FILES 4096
#define THREADS 8192 /* of one user: all sessions of a vGPU */
#define COUNT(array) (sizeof(array) / sizeof *(array))
#define ALLOW SECCOMP_RET_ALLOW
#define DENY (SECCOMP_RET_ERRNO | EPERM)
#define UNKNOWN (SECCOMP_RET_ERRNO | ENOSYS)
#define VALUES(array) (struct filter_values){array, COUNT(array)}
#define VALUE(number) (struct filter_values){&(const uint32_t){number}, 1}

/* What worker, librefcuda, the C library and the sanitizers' libraries call. Kernels of the reference device
 * are host code of the tenant's: what is not here is what they can't do. */
static const uint32_t allowed[] = {
    /* waiting and time, the most frequent first */
    SYS_futex, SYS_clock_gettime, SYS_clock_nanosleep, SYS_nanosleep, SYS_ppoll, SYS_clock_getres,
    SYS_gettimeofday, SYS_sched_yield, SYS_restart_syscall, SYS_setitimer,
    /* memory */
    SYS_munmap, SYS_mprotect, SYS_mremap, SYS_brk,
    /* descriptors it has, and libraries that an image names; see also openat below */
    SYS_read, SYS_write, SYS_writev, SYS_pread64, SYS_lseek, SYS_close, SYS_fstat, SYS_newfstatat,
    SYS_sendto,
    /* threads and signals of its own */
    SYS_set_robust_list, SYS_rseq, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn,
    SYS_sigaltstack, SYS_exit, SYS_exit_group, SYS_gettid, SYS_getpid,
    /* what it may know */
    SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_sched_getaffinity, SYS_getcpu, SYS_getrandom,
    SYS_getrusage,
#if defined(__x86_64__)
    SYS_poll, SYS_alarm, SYS_time,
#endif
};

/* Libraries use older calls when the kernel does not know these, whose arguments a filter can't see. */
static const uint32_t unknown[] = {SYS_clone3, SYS_openat2, SYS_statx};

static const uint32_t allowed_prctl[] = {
    PR_SET_NAME, PR_GET_NAME, PR_SET_VMA, PR_GET_DUMPABLE, PR_GET_NO_NEW_PRIVS,
};
static const uint32_t allowed_fcntl[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GET_SEALS};
/* Of the ledger alone: the kernel charges no one for the memory that locks take. */
static const uint32_t allowed_locks[] = {F_GETLK, F_SETLK, F_SETLKW};

/* NVIDIA: system calls that no device library needs once it is loaded. */
static const uint32_t denied[] = {
    /* other programs and processes */
    SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev,
    SYS_process_madvise, SYS_kcmp, SYS_pidfd_open, SYS_pidfd_getfd, SYS_pidfd_send_signal, SYS_kill,
    SYS_tkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_setns, SYS_unshare, SYS_setpriority,
    SYS_ioprio_set,
#if defined(__x86_64__)
    SYS_fork, SYS_vfork,
#endif
    /* the network */
    SYS_socket, SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4,
    /* memory and messages that outlive the process and that others of its user may open */
    SYS_shmget, SYS_shmat, SYS_shmctl, SYS_msgget, SYS_msgsnd, SYS_msgrcv, SYS_msgctl, SYS_semget,
    SYS_semop, SYS_semtimedop, SYS_semctl, SYS_mq_open, SYS_mq_unlink,
    /* the file system's shape */
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_open_tree, SYS_move_mount, SYS_fsopen,
    SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_mount_setattr, SYS_open_by_handle_at,
    SYS_name_to_handle_at, SYS_mknodat, SYS_swapon, SYS_swapoff, SYS_quotactl, SYS_fanotify_init,
#if defined(__x86_64__)
    SYS_mknod,
#endif
    /* the kernel and the machine */
    SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_reboot, SYS_bpf,
    SYS_perf_event_open, SYS_userfaultfd, SYS_io_uring_setup, SYS_io_uring_enter,
    SYS_io_uring_register, SYS_add_key, SYS_request_key, SYS_keyctl, SYS_syslog, SYS_acct,
    SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex, SYS_sethostname,
    SYS_setdomainname, SYS_personality, SYS_vhangup, SYS_kexec_file_load,
#if defined(__x86_64__)
    SYS_iopl, SYS_ioperm, SYS_modify_ldt,
#endif
};
static const uint32_t denied_prctl[] = {PR_SET_DUMPABLE, PR_SET_PTRACER, PR_SET_MM};

/* Calls whose first argument is a process: allowed on this one, which 0 means. Some libraries set a thread's
 * affinity by its number and live with a refusal. */
static const uint32_t own_process[] = {SYS_prlimit64, SYS_sched_setaffinity};
static const uint32_t more_of_own_process[] = {
    SYS_sched_setattr, SYS_sched_setparam, SYS_sched_setscheduler, SYS_migrate_pages, SYS_move_pages,
};

/* Ways to have the kernel send a signal to any process of the same user. */
static const uint32_t owner_commands[] = {F_SETOWN, F_SETOWN_EX, F_SETSIG};
static const uint32_t owner_requests[] = {FIOSETOWN, SIOCSPGRP};

/* A worker maps its ledger and locks it. What lengthens the file would fill the agent's disk, and what copies the
 * descriptor gets it out of these rules. */
static const uint32_t ledger_denied[] = {
    SYS_write, SYS_writev, SYS_pwrite64, SYS_pwritev, SYS_pwritev2, SYS_sendfile, SYS_ftruncate, SYS_fallocate,
    SYS_dup, SYS_dup3,
#if defined(__x86_64__)
    SYS_dup2,
#endif
};
static const uint32_t ledger_denied_second[] = {SYS_copy_file_range, SYS_splice}; /* their argument 2 is written to */
static const uint32_t copies[] = {F_DUPFD, F_DUPFD_CLOEXEC};

static void keep_ledger(struct filter *filter, uint32_t ledger)
{
    for (size_t i = 0; i < COUNT(ledger_denied); i++)
        filter_argument(filter, ledger_denied[i], 0, FILTER_IS, VALUE(ledger), DENY, FILTER_NEXT);
    for (size_t i = 0; i < COUNT(ledger_denied_second); i++)
        filter_argument(filter, ledger_denied_second[i], 2, FILTER_IS, VALUE(ledger), DENY, FILTER_NEXT);
}

static void on_own_process(struct filter *filter, const uint32_t *calls, size_t count)
{
    for (size_t i = 0; i < count; i++)
        filter_argument(filter, calls[i], 0, FILTER_IS, VALUE(0), ALLOW, DENY);
}

static void threads_of_its_own(struct filter *filter)
{
    filter_argument(filter, SYS_clone, 0, FILTER_HAS, VALUE(CLONE_THREAD), ALLOW, DENY);
    filter_argument(filter, SYS_tgkill, 0, FILTER_IS, VALUE((uint32_t)getpid()), ALLOW, DENY); /* abort() */
    on_own_process(filter, own_process, COUNT(own_process));
}

static void write_allow_list(struct filter *filter, uint32_t ledger, uint32_t control)
{
    keep_ledger(filter, ledger);
    filter_calls(filter, allowed, COUNT(allowed), ALLOW);
    filter_calls(filter, unknown, COUNT(unknown), UNKNOWN);
    threads_of_its_own(filter);
    filter_argument(filter, SYS_mmap, 3, FILTER_HAS, VALUE(MAP_HUGETLB), DENY, ALLOW);
    /* Libraries and images, by name, to read; files are neither made nor written. */
    filter_argument(filter, SYS_openat, 2, FILTER_WITHIN, VALUE(O_CLOEXEC | O_LARGEFILE | O_NOCTTY), ALLOW, DENY);
    filter_argument(filter, SYS_memfd_create, 1, FILTER_WITHIN, VALUE(MFD_CLOEXEC), ALLOW, DENY);
    filter_argument(filter, SYS_prctl, 0, FILTER_IS, VALUES(allowed_prctl), ALLOW, DENY);
    filter_argument(filter, SYS_accept4, 0, FILTER_IS, VALUE(control), ALLOW, DENY);
    filter_argument(filter, SYS_fcntl, 1, FILTER_IS, VALUES(allowed_fcntl), ALLOW, FILTER_NEXT);
    filter_argument(filter, SYS_fcntl, 0, FILTER_IS_NOT, VALUE(ledger), DENY, FILTER_NEXT);
    filter_argument(filter, SYS_fcntl, 1, FILTER_IS, VALUES(allowed_locks), ALLOW, DENY);
    /* How librefcuda asks whether memory is mapped; MS_SYNC would write the ledger to the agent's disk each time. */
    filter_argument(filter, SYS_msync, 2, FILTER_IS, VALUE(MS_ASYNC), ALLOW, DENY);
    /* How long a write to a merged page takes tells what other processes have in memory. */
    filter_argument(filter, SYS_madvise, 2, FILTER_IS, VALUE(MADV_MERGEABLE), DENY, ALLOW);
    filter_end(filter, DENY);
}

static void write_deny_list(struct filter *filter, uint32_t ledger, uint32_t control)
{
    keep_ledger(filter, ledger);
    filter_argument(filter, SYS_fcntl, 1, FILTER_IS, VALUES(owner_commands), DENY, FILTER_NEXT);
    filter_argument(filter, SYS_fcntl, 0, FILTER_IS_NOT, VALUE(ledger), ALLOW, FILTER_NEXT);
    filter_argument(filter, SYS_fcntl, 1, FILTER_IS, VALUES(copies), DENY, ALLOW);
    filter_argument(filter, SYS_accept4, 0, FILTER_IS, VALUE(control), ALLOW, FILTER_NEXT);
    filter_calls(filter, denied, COUNT(denied), DENY);
    filter_calls(filter, unknown, 1, UNKNOWN); /* clone3; the others' arguments are of no concern here */
    threads_of_its_own(filter);
    on_own_process(filter, more_of_own_process, COUNT(more_of_own_process));
    filter_argument(filter, SYS_prctl, 0, FILTER_IS, VALUES(denied_prctl), DENY, ALLOW);
    filter_argument(filter, SYS_ioctl, 1, FILTER_IS, VALUES(owner_requests), DENY, ALLOW);
    filter_end(filter, ALLOW);
}

static int lower_limit(int resource, rlim_t most)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) == -1)
        return -1;
    if (limit.rlim_max > most)
        limit.rlim_max = most;
    if (limit.rlim_cur > limit.rlim_max)
        limit.rlim_cur = limit.rlim_max;
    return setrlimit(resource, &limit);
}

static int lower_limits(void)
{
    static const struct rlimit_of {
        int resource;
        rlim_t most;
    } limits[] = {
        {RLIMIT_CORE, 0}, {RLIMIT_NOFILE, OPEN_FILES}, {RLIMIT_NPROC, THREADS},
        {RLIMIT_MSGQUEUE, 0}, {RLIMIT_NICE, 0}, {RLIMIT_RTPRIO, 0},
    };

    for (size_t i = 0; i < COUNT(limits); i++)
        if (lower_limit(limits[i].resource, limits[i].most) == -1)
            return -1;
    return 0;
}

int sandbox_enter(enum sandbox sandbox, int ledger, int control)
{
    static struct filter filter; /* large for a stack, and needed once */
    struct sock_fprog program = {.filter = filter.code};

    if (lower_limits() == -1 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
        return -1;
    filter_begin(&filter);
    if (sandbox == SANDBOX_NVIDIA)
        write_deny_list(&filter, (uint32_t)ledger, (uint32_t)control);
    else
        write_allow_list(&filter, (uint32_t)ledger, (uint32_t)control);
    program.len = filter.length;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) ? -1 : 0;
}
