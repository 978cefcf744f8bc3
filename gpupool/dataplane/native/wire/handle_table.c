#include "wire/handle_table.h"

#include <stdlib.h>
#include <string.h>

#define INDEX_MASK ((1u << HANDLE_INDEX_BITS) - 1)

struct handle_entry {
    void *object;
    uint16_t generation;
    uint8_t kind; /* HANDLE_NONE: free */
    uint32_t next_free;
};

static uint32_t index_of(uint64_t handle)
{
    return (uint32_t)handle & INDEX_MASK;
}

static uint16_t generation_of(uint64_t handle)
{
    return (uint16_t)(handle >> HANDLE_INDEX_BITS);
}

static uint64_t handle_at(const struct handle_table *table, uint32_t index)
{
    return (uint64_t)table->entries[index].generation << HANDLE_INDEX_BITS | index;
}

static bool grow(struct handle_table *table, uint32_t needed)
{
    uint32_t count = table->count ? table->count : 64;
    while (count < needed)
        count *= 2;
    if (count > HANDLE_LIMIT)
        count = HANDLE_LIMIT;
    struct handle_entry *entries = realloc(table->entries, count * sizeof *entries);
    if (!entries)
        return false;
    memset(entries + table->count, 0, (count - table->count) * sizeof *entries);
    table->entries = entries;
    table->count = count;
    return true;
}

/* Index 0 stays unused, so that no handle is 0. */
static void chain_free(struct handle_table *table, uint32_t from)
{
    for (uint32_t index = table->count; index-- > (from ? from : 1);) {
        table->entries[index].next_free = table->first_free;
        table->first_free = index + 1;
    }
}

uint64_t handle_new(struct handle_table *table, enum handle_kind kind, void *object)
{
    if (!table->first_free) {
        uint32_t before = table->count;
        if (before >= HANDLE_LIMIT || !grow(table, before + 1))
            return 0;
        chain_free(table, before);
    }
    uint32_t index = table->first_free - 1;
    struct handle_entry *entry = &table->entries[index];
    table->first_free = entry->next_free;
    entry->object = object;
    entry->kind = (uint8_t)kind;
    entry->generation++;
    return handle_at(table, index);
}

bool handle_set(struct handle_table *table, uint64_t handle, enum handle_kind kind, void *object)
{
    uint32_t index = index_of(handle);
    if (handle >> HANDLE_BITS || index == 0 || index >= HANDLE_LIMIT)
        return false;
    if (index >= table->count && !grow(table, index + 1))
        return false;
    struct handle_entry *entry = &table->entries[index];
    if (entry->kind != HANDLE_NONE)
        return false;
    entry->object = object;
    entry->kind = (uint8_t)kind;
    entry->generation = generation_of(handle);
    return true;
}

static struct handle_entry *find(const struct handle_table *table, uint64_t handle, enum handle_kind kind)
{
    uint32_t index = index_of(handle);
    if (handle >> HANDLE_BITS || index >= table->count || kind == HANDLE_NONE)
        return NULL;
    struct handle_entry *entry = &table->entries[index];
    return entry->kind == kind && entry->generation == generation_of(handle) ? entry : NULL;
}

void *handle_replace(struct handle_table *table, uint64_t handle, enum handle_kind from, enum handle_kind to,
                     void *object)
{
    struct handle_entry *entry = find(table, handle, from);
    if (!entry)
        return NULL;
    void *before = entry->object;
    entry->object = object;
    entry->kind = (uint8_t)to;
    return before;
}

void *handle_get(const struct handle_table *table, uint64_t handle, enum handle_kind kind)
{
    struct handle_entry *entry = find(table, handle, kind);
    return entry ? entry->object : NULL;
}

void *handle_drop(struct handle_table *table, uint64_t handle, enum handle_kind kind)
{
    struct handle_entry *entry = find(table, handle, kind);
    if (!entry)
        return NULL;
    void *object = entry->object;
    entry->object = NULL;
    entry->kind = HANDLE_NONE;
    entry->next_free = table->first_free;
    table->first_free = index_of(handle) + 1;
    return object;
}

bool handle_next(const struct handle_table *table, struct handle_walk *walk)
{
    while (walk->next < table->count) {
        uint32_t index = walk->next++;
        const struct handle_entry *entry = &table->entries[index];
        if (entry->kind == HANDLE_NONE)
            continue;
        walk->handle = handle_at(table, index);
        walk->kind = (enum handle_kind)entry->kind;
        walk->object = entry->object;
        return true;
    }
    return false;
}

void handle_table_clear(struct handle_table *table)
{
    free(table->entries);
    memset(table, 0, sizeof *table);
}
