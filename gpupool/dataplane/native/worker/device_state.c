#include "worker/device_state.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const struct device_state *device_state_map(int fd)
{
    struct device_state *state = MAP_FAILED;
    struct stat status;
    if (fstat(fd, &status) == 0 && status.st_size >= (off_t)sizeof *state)
        state = mmap(NULL, sizeof *state, PROT_READ, MAP_SHARED, fd, 0);
    else
        errno = EINVAL;
    int reason = errno;
    close(fd);
    if (state != MAP_FAILED && state->magic == DEVICE_STATE_MAGIC && state->version == DEVICE_STATE_VERSION)
        return state;
    errno = state == MAP_FAILED ? reason : EINVAL;
    return NULL;
}
