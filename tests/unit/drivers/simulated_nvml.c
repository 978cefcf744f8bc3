/* A simulation of libnvidia-ml.so.1 under the real pynvml: no device is touched.
 *
 * The file that SIMULATED_NVML names describes the devices, read anew at every call, one line each:
 *   UUID|NAME|TOTAL BYTES|RESERVED BYTES|MIG: on, off or none|state: ok or an NVML error number|LINKS
 * LINKS, which may be left out, is the letters of the NVLink bridges that the device is on; "?" where
 * it can't tell.
 * A first line "down" makes the library refuse to start. Names, numbers and struct layouts are those
 * of NVIDIA's documented NVML interface. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static int read_devices(void)
{
    FILE *file = fopen(getenv("SIMULATED_NVML"), "r");
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
        one->links[0] = 0;
        count += sscanf(line, "%79[^|]|%95[^|]|%llu|%llu|%7[^|]|%7[^|\n]|%7s", one->uuid, one->name,
                        &one->total, &one->reserved, one->mig, one->state, one->links) >= 6;
    }
    fclose(file);
    return count;
}

static int state_of(struct device *one)
{
    int count = read_devices();

    if (!started)
        return UNINITIALIZED;
    return one - devices >= count ? INVALID : atoi(one->state); /* "ok" is 0 */
}

int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
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
