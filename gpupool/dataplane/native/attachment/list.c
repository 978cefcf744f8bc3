#include "attachment/list.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "attachment/log.h"

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
static enum result add(struct vgpus *all, const struct vgpu *given, int count)
{
    struct vgpu *grown = realloc(all->items, (size_t)(all->count + count + 1) * sizeof *grown);
    if (!grown)
        return RESULT_OUT_OF_MEMORY;
    all->items = grown;
    for (int index = 0; index < count; index++)
        if (!has(all, &given[index]))
            grown[all->count++] = given[index];
    return RESULT_OK;
}

static enum result ask(struct vgpus *all, const struct attachment *attachment)
{
    struct vgpu *given = NULL;
    int count = 0;
    enum result result = handshake_list(attachment, &given, &count);
    if (result == RESULT_OK)
        result = add(all, given, count);
    free(given);
    return result;
}

enum result vgpus_list(struct vgpus *all)
{
    *all = (struct vgpus){0};
    enum result failed = RESULT_OK, result = attachments_find(&all->attachments);
    if (result != RESULT_OK)
        return result;
    if (!all->attachments.count)
        runtime_log("no device: this program has no attachment (GPUPOOL_SOCKET is not set, and there is none in %s); "
                    "see openstack gpu run",
                    attachments_folder());
    for (int index = 0; index < all->attachments.count; index++) {
        result = ask(all, &all->attachments.items[index]);
        if (result != RESULT_OK)
            failed = result;
    }
    if (all->count) {
        if (failed != RESULT_OK)
            runtime_log("devices of attachments that cannot be used are left out");
        return RESULT_OK;
    }
    vgpus_clear(all);
    return failed != RESULT_OK ? failed : RESULT_NO_DEVICE;
}
