#include "runtime/cuda/text.h"

#include <stdio.h>
#include <string.h>

CUresult text_give(char *to, int room, const char *text, bool whole)
{
    if (!to || room <= 0 || (whole && strlen(text) >= (size_t)room))
        return CUDA_ERROR_INVALID_VALUE;
    snprintf(to, (size_t)room, "%s", text);
    return CUDA_SUCCESS;
}
