#include "worker/isolation.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "worker/landlock.h"
#include "worker/view.h"

static bool write_file(const char *path, const char *text)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);
    bool written = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);

    if (file >= 0)
        close(file);
    return written;
}

/* Without root, namespaces can only be made within a user namespace, where this process keeps its number. */
static bool enter_user_namespace(void)
{
    char users[64], groups[64];

    snprintf(users, sizeof users, "%u %u 1\n", geteuid(), geteuid());
    snprintf(groups, sizeof groups, "%u %u 1\n", getegid(), getegid());
    if (unshare(CLONE_NEWUSER) == -1)
        return false;
    /* The maps of an undumpable process belong to root. Meanwhile processes of this user could open this one's
     * memory; other workers could not, since on a host that allows this they don't see /proc. */
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    bool mapped = write_file("/proc/self/setgroups", "deny") && write_file("/proc/self/uid_map", users) &&
                  write_file("/proc/self/gid_map", groups);
    int error = errno;
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    errno = error;
    return mapped;
}

static void enter_namespaces(enum sandbox sandbox, missing_part *missing)
{
    if (unshare(CLONE_NEWIPC) == -1)
        missing("IPC namespace", errno);
    if (unshare(CLONE_NEWNET) == -1)
        missing("network namespace", errno);
    if (unshare(CLONE_NEWNS) == -1) {
        missing("mount namespace", errno);
        return;
    }
    if (sandbox == SANDBOX_NVIDIA)
        view_cover(missing);
    else if (!view_enter(missing))
        missing("file system", errno);
}

/* A bounding set without capabilities is out of reach of those who have none; no_new_privs stands for it. */
static bool empty_bounding_set(void)
{
    for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == -1 && errno != EPERM)
            return false;
    return true;
}

static bool change_user(uid_t uid)
{
    return setgroups(0, NULL) == 0 && setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0;
}

static bool drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return syscall(SYS_capset, &header, none) == 0;
}

/* A change of the user sets this to what the host's fs.suid_dumpable says. */
static bool forbid_dumps(void)
{
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
}

int isolation_enter(const struct isolation *isolation, missing_part *missing)
{
    if (!forbid_dumps())
        return -1;
    if (geteuid() == 0 || enter_user_namespace())
        enter_namespaces(isolation->sandbox, missing);
    else
        missing("user namespace, and so IPC, network and mount namespace", errno);
    if (!empty_bounding_set() || (isolation->uid && !change_user(isolation->uid)))
        return -1;
    if (!drop_capabilities() || !forbid_dumps() || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
        return -1;
    if (isolation->sandbox == SANDBOX_REFERENCE && !landlock_enter(isolation->library))
        missing("Landlock rules", errno);
    return 0;
}
