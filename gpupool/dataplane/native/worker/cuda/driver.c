#include "worker/cuda/driver.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct entry_point {
    const char *name;   /* what cuGetProcAddress takes */
    const char *symbol; /* what dlsym takes */
    int version;
    size_t place;
};

#include "worker_driver.inc"

typedef CUresult get_proc_address(const char *, void **, int, uint64_t, CUdriverProcAddressQueryResult *);

static CUresult not_supported(void)
{
    return CUDA_ERROR_NOT_SUPPORTED;
}

static void *find(void *library, get_proc_address *get, const struct entry_point *point)
{
    void *found = NULL;
    if (get && get(point->name, &found, point->version, CU_GET_PROC_ADDRESS_DEFAULT, NULL) == CUDA_SUCCESS && found)
        return found;
    found = dlsym(library, point->symbol);
    return found ? found : (void *)not_supported;
}

void *driver_open(const char *path, struct driver *driver)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return NULL;
    get_proc_address *get;
    *(void **)&get = dlsym(library, "cuGetProcAddress_v2");
    for (size_t index = 0; index < sizeof entry_points / sizeof *entry_points; index++) {
        void *found = find(library, get, &entry_points[index]);
        memcpy((char *)driver + entry_points[index].place, &found, sizeof found);
    }
    return library;
}
