/*
 * Finding functions by name. One name has stood for several interfaces over the years, so cuGetProcAddress also goes
 * by the version the caller was built for; and each function that takes the default stream has a twin, which takes
 * the thread's own.
 */
#include <string.h>

#include "refcuda/api.h"
#include "refcuda/driver.h"

typedef void (*any_function)(void);

static const struct row {
    const char *name;
    int version;     /* the first that has this interface */
    bool per_thread; /* the twin */
    any_function function;
} rows[] = {
#include "refcuda_symbols.inc"
};

/* The newest interface of the name that the version knows; a twin only when it is asked for. */
static const struct row *find(const char *name, int version, bool per_thread, bool *known)
{
    const struct row *best = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        if (strcmp(row->name, name) || (row->per_thread && !per_thread))
            continue;
        *known = true;
        if (row->version > version)
            continue;
        if (!best || row->per_thread > best->per_thread ||
            (row->per_thread == best->per_thread && row->version > best->version))
            best = row;
    }
    return best;
}

/* SUCCESS with *function NULL when there is none; `status` says why. */
static CUresult look_up(const char *name, void **function, int version, uint64_t flags,
                        CUdriverProcAddressQueryResult *status)
{
    const struct row *row;
    bool known = false;
    if (!name || !function || flags > CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM)
        return CUDA_ERROR_INVALID_VALUE;
    *function = NULL;
    if (version > CUDA_ABI_VERSION)
        return refuse(CUDA_ERROR_INVALID_VALUE, "%s: version is %d; allowed: up to %d", name, version,
                      CUDA_ABI_VERSION);
    row = find(name, version, flags == CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM, &known);
    *status = row     ? CU_GET_PROC_ADDRESS_SUCCESS
              : known ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                      : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    if (row)
        memcpy(function, &row->function, sizeof *function);
    trace("%s version %d flags %d: %s", name, version, (int)flags,
          row ? "found" : known ? "only in a newer version" : "not here");
    return CUDA_SUCCESS;
}

/* Since 11.3: what is missing is an error. */
API CUresult cuGetProcAddress(const char *name, void **function, int version, uint64_t flags)
{
    CUdriverProcAddressQueryResult status = CU_GET_PROC_ADDRESS_SUCCESS;
    CUresult result = look_up(name, function, version, flags, &status);
    if (result)
        return result;
    return status == CU_GET_PROC_ADDRESS_SUCCESS ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

/* Since 12.0: what is missing is a null function, and `status` says why. */
API CUresult cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags,
                                 CUdriverProcAddressQueryResult *status)
{
    CUdriverProcAddressQueryResult unwanted;
    return look_up(name, function, version, flags, status ? status : &unwanted);
}
