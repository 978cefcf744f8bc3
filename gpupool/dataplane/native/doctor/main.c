/* gpupool-doctor: needs nothing but the C library, as containers may have no Python. Prints what it sees on standard
 * output, and why something is not so on standard error. Ends with 0 when programs here reach their vGPUs, else with 1. */
#include <stdio.h>
#include <stdlib.h>

#include "attachment/cuda/visible.h"
#include "doctor/doctor.h"

static void print_where(void)
{
    const char *sockets = getenv("GPUPOOL_SOCKET");
    if (sockets && *sockets)
        printf("attachments: GPUPOOL_SOCKET and GPUPOOL_TICKET name them\n");
    else
        printf("attachments: in %s, as GPUPOOL_SOCKET is not set\n", attachments_folder());
}

/* Print each attachment; return whether there are any that can be used, and to `*all` whether all can. */
static bool attachments_report(bool *all)
{
    struct attachments found;
    int usable = 0;
    if (attachments_find(&found) == RESULT_OK && !found.count)
        printf("  none\n");
    for (int index = 0; index < found.count; index++) {
        struct vgpu *vgpus = NULL;
        int count = 0;
        bool answers = handshake_list(&found.items[index], &vgpus, &count) == RESULT_OK;
        printf("  %s: ", found.items[index].socket);
        if (answers)
            printf("%d vGPU%s\n", count, count == 1 ? "" : "s");
        else
            printf("cannot be used\n");
        usable += answers;
        free(vgpus);
    }
    *all = usable == found.count;
    attachments_clear(&found);
    return usable > 0;
}

/* Print the devices as a program started here would number them; whether there is one. */
static bool devices_report(void)
{
    struct vgpus all;
    char name[UUID_TEXT];
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    if (vgpus_list(&all) != RESULT_OK || vgpus_select(&all, visible) != RESULT_OK)
        return false;
    if (visible)
        printf("CUDA_VISIBLE_DEVICES: \"%s\" shows %d\n", visible, all.count);
    for (int index = 0; index < all.count; index++) {
        const struct vgpu *vgpu = &all.items[index];
        vgpu_name(vgpu, name);
        printf("device %d: %s, %u %% compute, %llu MiB\n", index, name, vgpu->compute,
               (unsigned long long)(vgpu->memory >> 20));
    }
    bool any = all.count > 0;
    vgpus_clear(&all);
    return any;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        fprintf(stderr, "%s takes no arguments: it says which libcuda.so.1 programs find here, and which attachments\n",
                argv[0]);
        return 2;
    }
    /* In order with what goes to standard error. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    bool well = library_report(), all;
    print_where();
    well = attachments_report(&all) && devices_report() && all && well;
    processes_report();
    return well ? EXIT_SUCCESS : EXIT_FAILURE;
}
