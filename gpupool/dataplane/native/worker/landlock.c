#include "worker/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "worker/view.h"

/* Libraries of 2021 don't know these calls and structures. The numbers are the same on every architecture. */
enum { CREATE_RULESET = 444, ADD_RULE = 445, RESTRICT_SELF = 446, RULE_PATH_BENEATH = 1 };
/* Everything that Landlock's first version can forbid. */
#define HANDLED ((uint64_t)0x1fff)
#define EXECUTE ((uint64_t)1 << 0)
#define READ_FILE ((uint64_t)1 << 2)

struct ruleset {
    uint64_t handled;
};

struct rule {
    uint64_t allowed;
    int32_t beneath;
} __attribute__((packed));

static bool allow(int ruleset, int file)
{
    struct rule rule = {.allowed = EXECUTE | READ_FILE, .beneath = file};

    return syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, &rule, 0) == 0;
}

static bool allow_path(int ruleset, const char *path)
{
    int file = open(path, O_PATH | O_CLOEXEC);

    if (file < 0)
        return errno == ENOENT;
    bool allowed = allow(ruleset, file);
    close(file);
    return allowed;
}

static bool allow_all(int ruleset, int library)
{
    for (const char *const *path = view_paths; *path; path++)
        if (!allow_path(ruleset, *path))
            return false;
    return library < 0 || allow(ruleset, library);
}

bool landlock_enter(int library)
{
    struct ruleset wanted = {.handled = HANDLED};
    int ruleset = (int)syscall(CREATE_RULESET, &wanted, sizeof wanted, 0);

    if (ruleset < 0)
        return false;
    bool entered = allow_all(ruleset, library) && syscall(RESTRICT_SELF, ruleset, 0) == 0;
    int error = errno;
    close(ruleset);
    errno = error;
    return entered;
}
