/* The exported symbols, and how programs find them. */
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "attachment/log.h"
#include "gpupool_calls.h"
#include "runtime/process.h"

#define EXPORT __attribute__((visibility("default")))

#define ENTER()                                \
    do {                                       \
        if (!process_entered())                \
            return CUDA_ERROR_NOT_INITIALIZED; \
    } while (0)

static CUresult unsupported(const char *name, atomic_flag *said)
{
    if (!atomic_flag_test_and_set(said))
        runtime_log("%s is not supported", name);
    return CUDA_ERROR_NOT_SUPPORTED;
}

/* A name that programs may find and link to, in the forms it has been exported in; calling it is
 * refused. */
#define UNSUPPORTED(name)                                         \
    EXPORT CUresult name(void);                                   \
    CUresult name(void)                                           \
    {                                                             \
        static atomic_flag said = ATOMIC_FLAG_INIT;               \
        return unsupported(#name, &said);                         \
    }                                                             \
    EXPORT CUresult name##_v2(void) __attribute__((alias(#name))); \
    EXPORT CUresult name##_ptsz(void) __attribute__((alias(#name)));

struct symbol {
    const char *name;
    int since;
    int per_thread;
    void *function;
};

#include "runtime_exports.inc"

/* The newest that the caller's version knows; a per-thread variant before a plain one if asked for. */
static const struct symbol *look_up(const char *name, int version, bool per_thread, bool *known)
{
    const struct symbol *best = NULL;
    *known = false;
    for (size_t index = 0; index < sizeof symbols / sizeof *symbols; index++) {
        const struct symbol *symbol = &symbols[index];
        if (strcmp(symbol->name, name) != 0)
            continue;
        *known = true;
        if (symbol->since > version || (symbol->per_thread && !per_thread))
            continue;
        if (!best || symbol->per_thread > best->per_thread ||
            (symbol->per_thread == best->per_thread && symbol->since > best->since))
            best = symbol;
    }
    return best;
}

CUresult runtime_cuGetProcAddress_v2(const char *symbol, void **pfn, int cudaVersion, uint64_t flags,
                                     CUdriverProcAddressQueryResult *symbolStatus)
{
    bool known;
    if (!symbol || !pfn || flags > CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM)
        return CUDA_ERROR_INVALID_VALUE;
    const struct symbol *found =
        look_up(symbol, cudaVersion, flags == CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM, &known);
    CUdriverProcAddressQueryResult status =
        found ? CU_GET_PROC_ADDRESS_SUCCESS
              : known ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    *pfn = found ? found->function : NULL;
    if (symbolStatus) {
        *symbolStatus = status;
        return CUDA_SUCCESS;
    }
    return found ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

CUresult runtime_cuGetProcAddress(const char *symbol, void **pfn, int cudaVersion, uint64_t flags)
{
    return runtime_cuGetProcAddress_v2(symbol, pfn, cudaVersion, flags, NULL);
}

/* --- errors --- */

static const struct {
    CUresult number;
    const char *name, *text;
} results[] = {
#define ROW(name, number, text) {name, #name, text},
    CUDA_RESULTS(ROW)
#undef ROW
};

static CUresult describe(CUresult error, const char **pStr, bool name)
{
    if (!pStr)
        return CUDA_ERROR_INVALID_VALUE;
    *pStr = NULL;
    for (size_t index = 0; index < sizeof results / sizeof *results; index++)
        if (results[index].number == error)
            *pStr = name ? results[index].name : results[index].text;
    return *pStr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult runtime_cuGetErrorName(CUresult error, const char **pStr)
{
    return describe(error, pStr, true);
}

CUresult runtime_cuGetErrorString(CUresult error, const char **pStr)
{
    return describe(error, pStr, false);
}
