#include "worker/view.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
/* The view is made in a directory that every host has, and then becomes the root directory. */
#define WORKSHOP "/tmp"

/* In the order they are made: a directory, a link and a file come out as what they are on the host. */
const char *const view_paths[] = {
    "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/lib", "/lib32", "/lib64",
    "/etc/ld.so.cache", "/dev/null", "/proc/self/fd", NULL,
};
static const char *const directories[] = {"usr", "usr/local", "etc", "dev", "dev/shm", "proc", "proc/self", "tmp"};

/* mount_setattr() that libraries of 2021 don't have yet. */
struct attributes {
    unsigned long long set, clear, propagation, user_namespace;
};

static bool set_read_only(void)
{
    struct attributes attributes = {.set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID};

    return syscall(SYS_mount_setattr, AT_FDCWD, ".", AT_RECURSIVE, &attributes, sizeof attributes) == 0;
}

static bool make_link(const char *path, const char *place)
{
    char target[4096];
    ssize_t length = readlink(path, target, sizeof target - 1);

    if (length < 0)
        return false;
    target[length] = 0;
    return symlink(target, place) == 0;
}

static bool make_file(const char *place)
{
    int file = open(place, O_CREAT | O_WRONLY | O_CLOEXEC, 0444);

    return file >= 0 && close(file) == 0;
}

/* Show what the host has at `path` at the same place of the view, which is the working directory. */
static bool show(const char *path)
{
    const char *place = path + 1;
    struct stat status;

    if (lstat(path, &status) == -1)
        return errno == ENOENT;
    if (S_ISLNK(status.st_mode))
        return make_link(path, place);
    if (S_ISDIR(status.st_mode) ? mkdir(place, 0755) == -1 : !make_file(place))
        return false;
    return mount(path, place, NULL, MS_BIND | MS_REC, NULL) == 0;
}

/* Mounts from here on are private to this worker. */
static bool make_private(void)
{
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static bool furnish(void)
{
    for (size_t i = 0; i < COUNT(directories); i++)
        if (mkdir(directories[i], 0755) == -1)
            return false;
    for (const char *const *path = view_paths; *path; path++)
        if (!show(*path))
            return false;
    return true;
}

bool view_enter(missing_part *missing)
{
    if (!make_private() ||
        mount("none", WORKSHOP, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64k,nr_inodes=64") == -1)
        return false;
    if (chdir(WORKSHOP) == -1 || !furnish())
        return false;
    /* Without this, kernels before 5.12, all of it still belongs to others than the worker. */
    if (!set_read_only())
        missing("read-only file system", errno);
    /* The new root is mounted over the old one at the same place, so that the old one can be let go. */
    return syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 && chdir("/") == 0;
}

static void cover(const char *path, missing_part *missing)
{
    char part[64];

    if (access(path, F_OK) == -1)
        return;
    if (mount("none", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=16m,nr_inodes=1k") == 0)
        return;
    snprintf(part, sizeof part, "empty %s", path);
    missing(part, errno);
}

void view_cover(missing_part *missing)
{
    if (!make_private()) {
        missing("mounts", errno);
        return;
    }
    cover("/tmp", missing);
    cover("/var/tmp", missing);
    cover("/dev/shm", missing);
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=ptraceable") == -1)
        missing("/proc without other processes", errno);
}
