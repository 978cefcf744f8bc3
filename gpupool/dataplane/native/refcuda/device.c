#include "refcuda/device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "refcuda/compute.h"
#include "refcuda/driver.h"

/* Addresses are cheap: room so that fragments never refuse what the size would allow. */
enum { ARENA_FACTOR = 4 };

static struct device devices[MOST_DEVICES];
static int count;

/* A whole number from the environment; false, and a line on stderr, when it is not within the bounds. */
static bool read_number(const char *name, long smallest, long largest, long *value)
{
    const char *text = getenv(name);
    char *end;
    if (!text || !*text)
        return true;
    errno = 0;
    *value = strtol(text, &end, 10);
    if (!errno && !*end && *value >= smallest && *value <= largest)
        return true;
    fprintf(stderr, "refcuda: %s is '%s'; allowed: a number from %ld to %ld\n", name, text, smallest, largest);
    return false;
}

static void device_init(struct device *device, int ordinal, long memory_mib, long units)
{
    device->ordinal = ordinal;
    device->memory = (size_t)memory_mib << 20;
    device->units = (unsigned)units;
    pthread_mutex_init(&device->lock, NULL);
    pthread_mutex_init(&device->primary_lock, NULL);
}

CUresult devices_open(void)
{
    long number = 1, memory_mib = 4096, units = sysconf(_SC_NPROCESSORS_ONLN);
    if (!read_number("REFCUDA_DEVICES", 0, MOST_DEVICES, &number) ||
        !read_number("REFCUDA_MEMORY_MIB", 1, 1 << 20, &memory_mib) ||
        !read_number("REFCUDA_COMPUTE_UNITS", 1, 1024, &units))
        return CUDA_ERROR_INVALID_VALUE;
    for (int i = 0; i < number; i++)
        device_init(&devices[i], i, memory_mib, units);
    count = (int)number;
    return count ? CUDA_SUCCESS : refuse(CUDA_ERROR_NO_DEVICE, "REFCUDA_DEVICES is 0");
}

struct device *device_find(CUdevice ordinal)
{
    return ordinal >= 0 && ordinal < count ? &devices[ordinal] : NULL;
}

int device_count(void)
{
    return count;
}

static CUresult start(struct device *device)
{
    size_t size = device->memory * ARENA_FACTOR;
    void *arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena == MAP_FAILED)
        return refuse(CUDA_ERROR_OUT_OF_MEMORY, "no address space for a device of %zu MiB", device->memory >> 20);
    if (!(device->compute = compute_new(device->units))) {
        munmap(arena, size);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    device->arena = arena;
    device->arena_size = size;
    return CUDA_SUCCESS;
}

CUresult device_use(struct device *device)
{
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&device->lock);
    if (!device->contexts)
        result = start(device);
    if (!result)
        device->contexts++;
    pthread_mutex_unlock(&device->lock);
    return result;
}

void device_leave(struct device *device)
{
    pthread_mutex_lock(&device->lock);
    if (!--device->contexts) {
        compute_end(device->compute);
        munmap(device->arena, device->arena_size);
        device->compute = NULL;
        device->arena = NULL;
    }
    pthread_mutex_unlock(&device->lock);
}

int device_pci_bus(const struct device *device)
{
    return device->ordinal + 1;
}
