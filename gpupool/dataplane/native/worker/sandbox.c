#include "worker/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "the sandbox knows x86_64 and aarch64"
#endif

#define X32_BIT 0x40000000u
#define OPEN_FILES 4096

/* System calls no device library needs once it is loaded. */
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
    SYS_iopl, SYS_ioperm,
#endif
};

/* Calls whose first argument is a process: allowed on this one, which 0 means. Some libraries set a thread's
 * affinity by its number and live with a refusal. */
static const uint32_t own_process[] = {
    SYS_prlimit64, SYS_sched_setaffinity, SYS_sched_setattr, SYS_sched_setparam, SYS_sched_setscheduler,
    SYS_migrate_pages, SYS_move_pages,
};

/* Ways to have the kernel send a signal to any process of the same user. */
static const uint32_t owner_commands[] = {F_SETOWN, F_SETOWN_EX, F_SETSIG};
static const uint32_t owner_requests[] = {FIOSETOWN, SIOCSPGRP};

enum { DENIED = sizeof denied / sizeof *denied, FILTER_MAX = 2 * DENIED + 80 };

struct program {
    struct sock_filter code[FILTER_MAX];
    unsigned short length;
};

static void add(struct program *program, struct sock_filter instruction)
{
    program->code[program->length++] = instruction;
}

static void load(struct program *program, size_t offset)
{
    add(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void finish(struct program *program, uint32_t action)
{
    add(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* The next instruction is run only if the loaded word compares so with `value`. */
static void only_if(struct program *program, uint16_t comparison, uint32_t value)
{
    add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | comparison | BPF_K, value, 0, 1));
}

static void unless(struct program *program, uint16_t comparison, uint32_t value, uint8_t skipped)
{
    add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | comparison | BPF_K, value, 0, skipped));
}

/* For one system call: allowed if the low word of its first argument compares so, else EPERM. */
static void allow_argument(struct program *program, uint32_t call, uint16_t comparison, uint32_t value)
{
    unless(program, BPF_JEQ, call, 4);
    load(program, offsetof(struct seccomp_data, args[0]));
    only_if(program, comparison, value);
    finish(program, SECCOMP_RET_ALLOW);
    finish(program, SECCOMP_RET_ERRNO | EPERM);
}

/* For one system call: EPERM if the low word of its second argument is one of the values, else allowed. */
static void deny_second(struct program *program, uint32_t call, const uint32_t *values, uint8_t count)
{
    unless(program, BPF_JEQ, call, (uint8_t)(2 + 2 * count));
    load(program, offsetof(struct seccomp_data, args[1]));
    for (uint8_t i = 0; i < count; i++) {
        only_if(program, BPF_JEQ, values[i]);
        finish(program, SECCOMP_RET_ERRNO | EPERM);
    }
    finish(program, SECCOMP_RET_ALLOW);
}

static void write_filter(struct program *program)
{
    load(program, offsetof(struct seccomp_data, arch));
    add(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0));
    finish(program, SECCOMP_RET_KILL_PROCESS);
    load(program, offsetof(struct seccomp_data, nr));
#if defined(__x86_64__)
    only_if(program, BPF_JGE, X32_BIT);
    finish(program, SECCOMP_RET_KILL_PROCESS);
#endif
    for (size_t i = 0; i < DENIED; i++) {
        only_if(program, BPF_JEQ, denied[i]);
        finish(program, SECCOMP_RET_ERRNO | EPERM);
    }
    /* A filter can't see clone3's arguments; libc falls back to clone, whose flags it can. */
    only_if(program, BPF_JEQ, SYS_clone3);
    finish(program, SECCOMP_RET_ERRNO | ENOSYS);
    allow_argument(program, SYS_clone, BPF_JSET, CLONE_THREAD);
    allow_argument(program, SYS_tgkill, BPF_JEQ, (uint32_t)getpid()); /* abort() */
    for (size_t i = 0; i < sizeof own_process / sizeof *own_process; i++)
        allow_argument(program, own_process[i], BPF_JEQ, 0);
    deny_second(program, SYS_fcntl, owner_commands, sizeof owner_commands / sizeof *owner_commands);
    deny_second(program, SYS_ioctl, owner_requests, sizeof owner_requests / sizeof *owner_requests);
    finish(program, SECCOMP_RET_ALLOW);
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

int sandbox_enter(void)
{
    struct program program = {.length = 0};
    struct sock_fprog filter = {.filter = program.code};

    if (lower_limit(RLIMIT_CORE, 0) == -1 || lower_limit(RLIMIT_NOFILE, OPEN_FILES) == -1)
        return -1;
    /* Also closes /proc/PID/mem to other workers of the same user. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
        return -1;
    write_filter(&program);
    filter.len = program.length;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) ? -1 : 0;
}
