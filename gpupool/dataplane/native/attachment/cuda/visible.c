/* CUDA_VISIBLE_DEVICES, as NVIDIA's programming guide documents it: a list of indices, or of UUIDs or the beginnings of
 * some; devices are numbered in its order, and what stands behind an entry that is no device is not visible. An empty
 * list shows none. Beyond the guide, drivers read an index as strtol does and show nothing when a device is named twice. */
#include "attachment/cuda/visible.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "attachment/log.h"

#define PREFIX "GPU-"

struct word {
    const char *text;
    size_t bytes;
};

void vgpu_name(const struct vgpu *vgpu, char text[UUID_TEXT])
{
    char *end = text + sprintf(text, PREFIX);
    for (size_t index = 0; index < sizeof vgpu->uuid; index++)
        end += sprintf(end, index == 4 || index == 6 || index == 8 || index == 10 ? "-%02x" : "%02x",
                       vgpu->uuid[index]);
}

static bool is_digit(const struct word *word, size_t at)
{
    return at < word->bytes && word->text[at] >= '0' && word->text[at] <= '9';
}

/* -1: no device. */
static int by_index(const struct vgpus *vgpus, const struct word *word)
{
    size_t at = word->bytes && *word->text == '+';
    int index = 0;
    if (!is_digit(word, at))
        return -1;
    for (; is_digit(word, at); at++) {
        index = index * 10 + (word->text[at] - '0');
        if (index >= vgpus->count)
            return -1;
    }
    return index;
}

/* -1: no device, or several. */
static int by_uuid(const struct vgpus *vgpus, const struct word *word)
{
    char name[UUID_TEXT];
    int found = -1;
    for (int index = 0; index < vgpus->count; index++) {
        vgpu_name(&vgpus->items[index], name);
        if (word->bytes >= sizeof name || strncasecmp(name, word->text, word->bytes) != 0)
            continue;
        if (found >= 0)
            return -1;
        found = index;
    }
    return found;
}

static bool is_uuid(const struct word *word)
{
    return word->bytes >= strlen(PREFIX) && strncmp(word->text, PREFIX, strlen(PREFIX)) == 0;
}

/* Take the next entry, without the spaces around it; false after the last. */
static bool next_word(const char **rest, struct word *word)
{
    if (!*rest)
        return false;
    size_t bytes = strcspn(*rest, ",");
    const char *text = *rest, *end = text + bytes;
    *rest = *end ? end + 1 : NULL;
    while (text < end && *text == ' ')
        text++;
    while (end > text && end[-1] == ' ')
        end--;
    *word = (struct word){text, (size_t)(end - text)};
    return true;
}

/* What ends a list on purpose, as -1 does or a word that is no device's, is nothing to tell. */
static void log_unknown(const struct vgpus *vgpus, const struct word *word)
{
    if (!is_uuid(word) && !is_digit(word, 0))
        return;
    runtime_log("CUDA_VISIBLE_DEVICES: %.*s is not one of this program's %d devices; it and what is behind it are not "
                "visible (allowed: 0 to %d, or so much of a GPU-<UUID> that one device has)",
                (int)(word->bytes < UUID_TEXT ? word->bytes : UUID_TEXT), word->text, vgpus->count, vgpus->count - 1);
}

static bool has(const int *shown, int count, int index)
{
    while (count-- > 0)
        if (shown[count] == index)
            return true;
    return false;
}

/* Fill `shown` with the indices of what is visible; return how many that are. */
static int choose(const struct vgpus *vgpus, const char *text, int *shown)
{
    struct word word;
    int count = 0;
    while (next_word(&text, &word)) {
        int index = is_uuid(&word) ? by_uuid(vgpus, &word) : by_index(vgpus, &word);
        if (index < 0) {
            log_unknown(vgpus, &word);
            return count;
        }
        if (has(shown, count, index)) {
            runtime_log("CUDA_VISIBLE_DEVICES names device %d twice: none is visible", index);
            return 0;
        }
        shown[count++] = index;
    }
    return count;
}

enum result vgpus_select(struct vgpus *vgpus, const char *text)
{
    if (!text || !vgpus->count)
        return RESULT_OK;
    int *shown = calloc((size_t)vgpus->count, sizeof *shown);
    struct vgpu *items = calloc((size_t)vgpus->count, sizeof *items);
    if (!shown || !items) {
        free(shown);
        free(items);
        return RESULT_OUT_OF_MEMORY;
    }
    int count = choose(vgpus, text, shown);
    for (int index = 0; index < count; index++)
        items[index] = vgpus->items[shown[index]];
    free(shown);
    free(vgpus->items);
    vgpus->items = items;
    vgpus->count = count;
    return RESULT_OK;
}
