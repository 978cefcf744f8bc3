/* A simulation of libnvidia-ml.so.1 under the real pynvml: no device is touched.
 *
 * The file "hardware" beside the library describes the devices, read anew at every call, one line each:
 *   UUID|NAME|TOTAL BYTES|RESERVED BYTES|MIG: on, off or none|state|LINKS
 * LINKS, which may be left out, is the letters of the NVLink bridges that the device is on; "?" where
 * it can't tell. The state is "ok", an NVML error number, or what a call about the device does:
 *   hang   never returns, whatever signals come; hang1 hangs in the first process that asks only
 *   crash  SIGSEGV; crash1 in the first process only
 *   slow   takes its time
 *   fork   leaves a process that lives on, and never returns
 *   junk   gives a name that nobody can show
 *   bytes  gives a name that is no text
 * A first line "down" makes the library refuse to start, "hang" hangs as it starts. The file "calls" gets
 * a line, the process's number, for every process that starts the library. Names, numbers and struct
 * layouts are those of NVIDIA's documented NVML interface. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, DRIVER_NOT_LOADED = 9, DEVICES = 8 };

struct device {
    char uuid[80], name[96], mig[8], state[8], links[8];
    unsigned long long total, reserved;
};

struct memory_v2 {
    unsigned version;
    unsigned long long total, reserved, free, used;
};

static struct device devices[DEVICES];
static int started;

/* Return the path of a file beside this library. */
static const char *beside(const char *name)
{
    static char path[4096];
    Dl_info info;

    if (!dladdr((void *)beside, &info))
        abort();
    snprintf(path, sizeof path, "%.*s%s", (int)(strrchr(info.dli_fname, '/') + 1 - info.dli_fname),
             info.dli_fname, name);
    return path;
}

static void hang(void)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    for (;;)
        pause();
}

static int read_devices(void)
{
    FILE *file = fopen(beside("hardware"), "r");
    char line[512];
    int count = 0;

    if (!file)
        abort();
    while (count < DEVICES && fgets(line, sizeof line, file)) {
        struct device *one = &devices[count];

        if (!strncmp(line, "down", 4)) {
            count = -1;
            break;
        }
        if (!strncmp(line, "hang", 4))
            hang();
        one->links[0] = 0;
        count += sscanf(line, "%79[^|]|%95[^|]|%llu|%llu|%7[^|]|%7[^|\n]|%7s", one->uuid, one->name,
                        &one->total, &one->reserved, one->mig, one->state, one->links) >= 6;
    }
    fclose(file);
    return count;
}

/* Return whether no other process has asked of this device before; leaves a file that says so. */
static int is_first(const struct device *one)
{
    char name[128], text[16] = "";
    int file, mine = getpid();

    snprintf(name, sizeof name, "first-%s", one->uuid);
    file = open(beside(name), O_RDWR | O_CREAT, 0600);
    if (read(file, text, sizeof text - 1) < 1)
        dprintf(file, "%d", mine);
    close(file);
    return !*text || atoi(text) == mine;
}

static void misbehave(const struct device *one)
{
    const char *state = one->state;

    if (!strcmp(state, "hang") || (!strcmp(state, "hang1") && is_first(one)))
        hang();
    if (!strcmp(state, "crash") || (!strcmp(state, "crash1") && is_first(one)))
        raise(SIGSEGV);
    if (!strcmp(state, "slow"))
        usleep(50000);
    if (!strcmp(state, "fork")) {
        int child = fork();

        if (child) {
            FILE *file = fopen(beside("forked"), "a");

            fprintf(file, "%d\n", child);
            fclose(file);
        }
        hang();
    }
}

static int state_of(struct device *one)
{
    int count = read_devices();

    if (!started)
        return UNINITIALIZED;
    if (one - devices >= count)
        return INVALID;
    misbehave(one);
    return atoi(one->state); /* "ok" is 0 */
}

int nvmlInitWithFlags(unsigned flags)
{
    FILE *file = fopen(beside("calls"), "a");

    (void)flags;
    fprintf(file, "%d\n", getpid());
    fclose(file);
    started = read_devices() >= 0;
    return started ? OK : DRIVER_NOT_LOADED;
}

int nvmlShutdown(void)
{
    started = 0;
    return OK;
}

const char *nvmlErrorString(int error)
{
    return error == DRIVER_NOT_LOADED ? "simulated: driver not loaded" : "simulated error";
}

int nvmlSystemGetDriverVersion(char *version, unsigned length)
{
    snprintf(version, length, "580.65.06");
    return started ? OK : UNINITIALIZED;
}

int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    *version = 13000;
    return started && read_devices() >= 0 ? OK : UNINITIALIZED;
}

int nvmlDeviceGetCount_v2(unsigned *count)
{
    *count = (unsigned)read_devices();
    return started ? OK : UNINITIALIZED;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **device)
{
    *device = &devices[index];
    return state_of(*device);
}

int nvmlDeviceGetUUID(struct device *device, char *uuid, unsigned length)
{
    snprintf(uuid, length, "%s", device->uuid);
    return state_of(device);
}

int nvmlDeviceGetName(struct device *device, char *name, unsigned length)
{
    if (!strcmp(device->state, "junk"))
        snprintf(name, length, "A\033[2J\342\200\256B");
    else if (!strcmp(device->state, "bytes"))
        snprintf(name, length, "\377\376");
    else
        snprintf(name, length, "%s", device->name);
    return state_of(device);
}

int nvmlDeviceGetMemoryInfo_v2(struct device *device, struct memory_v2 *memory)
{
    if (memory->version != (sizeof *memory | 2u << 24))
        return INVALID;
    memory->total = device->total;
    memory->reserved = device->reserved;
    memory->used = 0;
    memory->free = device->total - device->reserved;
    return state_of(device);
}

int nvmlDeviceGetCudaComputeCapability(struct device *device, int *major, int *minor)
{
    *major = 9;
    *minor = 0;
    return state_of(device);
}

int nvmlDeviceGetMigMode(struct device *device, unsigned *current, unsigned *pending)
{
    if (!strcmp(device->mig, "none"))
        return NOT_SUPPORTED;
    *current = *pending = !strcmp(device->mig, "on");
    return state_of(device);
}

int nvmlDeviceGetP2PStatus(struct device *one, struct device *other, unsigned index, unsigned *status)
{
    const unsigned nvlink = 2, not_supported = 5;

    if (index != nvlink)
        return INVALID;
    if (strchr(one->links, '?'))
        return NOT_SUPPORTED;
    *status = strpbrk(one->links, other->links) ? OK : not_supported;
    return state_of(one) ? state_of(one) : state_of(other);
}
