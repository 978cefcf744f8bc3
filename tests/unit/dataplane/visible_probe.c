/* Reads values of CUDA_VISIBLE_DEVICES, each ended by a NUL; prints a line for each: which of the devices it shows. The
 * arguments are the devices' UUIDs, as 32 hexadecimal digits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attachment/cuda/visible.h"
#include "attachment/log.h"

void runtime_log(const char *format, ...)
{
    (void)format;
}

static void show(const char *text, char **uuids, int count)
{
    struct vgpus vgpus = {.items = calloc((size_t)count + 1, sizeof *vgpus.items), .count = count};
    for (int index = 0; index < count; index++) {
        vgpus.items[index].ordinal = index;
        for (size_t byte = 0; byte < sizeof vgpus.items->uuid; byte++)
            sscanf(uuids[index] + 2 * byte, "%2hhx", &vgpus.items[index].uuid[byte]);
    }
    if (vgpus_select(&vgpus, text) != RESULT_OK)
        abort();
    for (int index = 0; index < vgpus.count; index++)
        printf("%d ", vgpus.items[index].ordinal);
    puts("");
    free(vgpus.items);
}

int main(int argc, char **argv)
{
    char *text = NULL;
    size_t room = 0;
    while (getdelim(&text, &room, 0, stdin) >= 0)
        show(text, argv + 1, argc - 1);
    free(text);
    return 0;
}
