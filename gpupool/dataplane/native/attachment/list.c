#include "attachment/attachment.h"

#include <stdlib.h>
#include <string.h>

void vgpus_clear(struct vgpus *vgpus)
{
    attachments_clear(&vgpus->attachments);
    free(vgpus->items);
    *vgpus = (struct vgpus){0};
}

static bool has(const struct vgpus *all, const struct vgpu *vgpu)
{
    for (int index = 0; index < all->count; index++)
        if (memcmp(all->items[index].uuid, vgpu->uuid, sizeof vgpu->uuid) == 0)
            return true;
    return false;
}

/* A claim may have several attachments in one program: its vGPUs are devices once. */
static CUresult add(struct vgpus *all, const struct vgpu *given, int count)
{
    struct vgpu *grown = realloc(all->items, (size_t)(all->count + count + 1) * sizeof *grown);
    if (!grown)
        return CUDA_ERROR_OUT_OF_MEMORY;
    all->items = grown;
    for (int index = 0; index < count; index++)
        if (!has(all, &given[index]))
            grown[all->count++] = given[index];
    return CUDA_SUCCESS;
}

static CUresult ask(struct vgpus *all, const struct attachment *attachment)
{
    struct vgpu *given = NULL;
    int count = 0;
    CUresult result = handshake_list(attachment, &given, &count);
    if (result == CUDA_SUCCESS)
        result = add(all, given, count);
    free(given);
    return result;
}

CUresult vgpus_list(struct vgpus *all)
{
    *all = (struct vgpus){0};
    CUresult failed = CUDA_SUCCESS, result = attachments_find(&all->attachments);
    if (result != CUDA_SUCCESS)
        return result;
    if (!all->attachments.count)
        runtime_log("no device: this program has no attachment (GPUPOOL_SOCKET is not set, and there is none in %s); "
                    "see openstack gpu run",
                    attachments_folder());
    for (int index = 0; index < all->attachments.count; index++) {
        result = ask(all, &all->attachments.items[index]);
        if (result != CUDA_SUCCESS)
            failed = result;
    }
    if (all->count) {
        if (failed != CUDA_SUCCESS)
            runtime_log("devices of attachments that cannot be used are left out");
        return CUDA_SUCCESS;
    }
    vgpus_clear(all);
    return failed != CUDA_SUCCESS ? failed : CUDA_ERROR_NO_DEVICE;
}
