/* Names and descriptions of results. */
#include "refcuda/api.h"

static const struct {
    CUresult result;
    const char *name, *text;
} errors[] = {
#define ROW(name, number, text) {name, #name, text},
    CUDA_RESULTS(ROW)
#undef ROW
};

static CUresult lookup(CUresult result, bool name, const char **text)
{
    if (!text)
        return CUDA_ERROR_INVALID_VALUE;
    *text = NULL;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (errors[i].result == result)
            *text = name ? errors[i].name : errors[i].text;
    return *text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

API CUresult cuGetErrorName(CUresult result, const char **name)
{
    return lookup(result, true, name);
}

API CUresult cuGetErrorString(CUresult result, const char **text)
{
    return lookup(result, false, text);
}
