#include "refcuda/device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "refcuda/api.h"
#include "refcuda/compute.h"
#include "refcuda/driver.h"

#define DEVICE_NAME "gpupool reference device (simulated)"

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

/* The device, or why there is none. */
static CUresult check(CUdevice ordinal, struct device **device)
{
    CUresult result = driver_ready();
    if (result)
        return result;
    *device = device_find(ordinal);
    return *device ? CUDA_SUCCESS
                   : refuse(CUDA_ERROR_INVALID_DEVICE, "device is %d; there are %d", ordinal, count);
}

API CUresult cuDeviceGet(CUdevice *out, int ordinal)
{
    struct device *device;
    CUresult result = check(ordinal, &device);
    if (result)
        return result;
    if (!out)
        return CUDA_ERROR_INVALID_VALUE;
    *out = ordinal;
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGetCount(int *out)
{
    CUresult result = driver_ready();
    if (result)
        return result;
    if (!out)
        return CUDA_ERROR_INVALID_VALUE;
    *out = count;
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGetName(char *name, int length, CUdevice ordinal)
{
    struct device *device;
    CUresult result = check(ordinal, &device);
    if (result)
        return result;
    if (!name || length <= 0)
        return CUDA_ERROR_INVALID_VALUE;
    snprintf(name, (size_t)length, "%s", DEVICE_NAME);
    return CUDA_SUCCESS;
}

API CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice ordinal)
{
    struct device *device;
    CUresult result = check(ordinal, &device);
    if (result)
        return result;
    if (!bytes)
        return CUDA_ERROR_INVALID_VALUE;
    *bytes = device->memory;
    return CUDA_SUCCESS;
}
ALSO(cuDeviceTotalMem, cuDeviceTotalMem_v2)

API CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice ordinal)
{
    struct device *device;
    CUresult result = check(ordinal, &device);
    if (result)
        return result;
    if (!value)
        return CUDA_ERROR_INVALID_VALUE;
    return device_attribute(device, attribute, value);
}

API CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice ordinal)
{
    struct device *device;
    CUresult result = check(ordinal, &device);
    if (result)
        return result;
    if (!major || !minor)
        return CUDA_ERROR_INVALID_VALUE;
    device_attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, major);
    return device_attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, minor);
}

/* "gpupool refcuda" in ASCII and the ordinal: the same in every process, so that devices can be recognized. */
API CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice ordinal)
{
    struct device *device;
    CUresult result = check(ordinal, &device);
    if (result)
        return result;
    if (!uuid)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(uuid->bytes, "gpupool refcuda", 15);
    uuid->bytes[15] = (unsigned char)ordinal;
    return CUDA_SUCCESS;
}
ALSO(cuDeviceGetUuid, cuDeviceGetUuid_v2)

API CUresult cuDeviceGetPCIBusId(char *text, int length, CUdevice ordinal)
{
    struct device *device;
    CUresult result = check(ordinal, &device);
    if (result)
        return result;
    if (!text || length < (int)sizeof "0000:00:00.0")
        return CUDA_ERROR_INVALID_VALUE;
    snprintf(text, (size_t)length, "%04x:%02x:00.0", PCI_DOMAIN, (unsigned)device_pci_bus(device));
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGetByPCIBusId(CUdevice *out, const char *text)
{
    unsigned domain, bus, slot, function = 0;
    CUresult result = driver_ready();
    if (result)
        return result;
    if (!out || !text || sscanf(text, "%x:%x:%x.%x", &domain, &bus, &slot, &function) < 3)
        return CUDA_ERROR_INVALID_VALUE;
    if (domain != PCI_DOMAIN || bus < 1 || bus > (unsigned)count || slot || function)
        return refuse(CUDA_ERROR_INVALID_DEVICE, "no device is at %s", text);
    *out = (int)bus - 1;
    return CUDA_SUCCESS;
}

API CUresult cuDeviceCanAccessPeer(int *can, CUdevice ordinal, CUdevice peer)
{
    struct device *device;
    CUresult result = check(ordinal, &device);
    if (result || (result = check(peer, &device)))
        return result;
    if (!can)
        return CUDA_ERROR_INVALID_VALUE;
    *can = ordinal != peer;
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attribute, CUdevice from, CUdevice to)
{
    struct device *device;
    CUresult result = check(from, &device);
    if (result || (result = check(to, &device)))
        return result;
    if (!value || from == to || attribute < 1 || attribute > CU_DEVICE_P2P_ATTRIBUTE_CUDA_ARRAY_ACCESS_SUPPORTED)
        return CUDA_ERROR_INVALID_VALUE;
    *value = attribute == CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED;
    return CUDA_SUCCESS;
}
