/* Handles both sides know: the runtime chooses them, the worker says what they stand for.
 *
 * A handle is a generation (16 bits) above an index (24 bits). A handle whose index was given out
 * again has another generation, so an old one finds nothing. Not thread safe: the owner locks.
 */
#ifndef GPUPOOL_WIRE_HANDLE_TABLE_H
#define GPUPOOL_WIRE_HANDLE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#define HANDLE_INDEX_BITS 24
#define HANDLE_BITS 40
#define HANDLE_LIMIT (1u << 16) /* most handles of one session at a time: streams and events are not charged */

enum handle_kind {
    HANDLE_NONE = 0,
    HANDLE_CONTEXT = 1,
    HANDLE_STREAM = 2,
    HANDLE_EVENT = 3,
    HANDLE_MODULE = 4,
    HANDLE_FUNCTION = 5,
    HANDLE_MAKING = 6, /* the runtime only: the worker is asked to make it */
};

struct handle_entry;

struct handle_table {
    struct handle_entry *entries;
    uint32_t count;      /* entries that exist */
    uint32_t first_free; /* index + 1, 0: none */
};

/* Runtime: choose a new handle for `object`; 0 when there is no memory or no number left. */
uint64_t handle_new(struct handle_table *table, enum handle_kind kind, void *object);

/* Make a live handle of the kind `from` stand for another object, of the kind `to`. Returns the object that it stood
 * for; NULL when there is no such handle, too. */
void *handle_replace(struct handle_table *table, uint64_t handle, enum handle_kind from, enum handle_kind to,
                     void *object);

/* Worker: take the client's new `handle`. False when its index is in use, out of range, or no memory. */
bool handle_set(struct handle_table *table, uint64_t handle, enum handle_kind kind, void *object);

/* The object of a live handle of this kind, else NULL. */
void *handle_get(const struct handle_table *table, uint64_t handle, enum handle_kind kind);

/* End a live handle; returns its object, NULL when there is none. */
void *handle_drop(struct handle_table *table, uint64_t handle, enum handle_kind kind);

/* A walk over a table's live handles; all zero before the first. */
struct handle_walk {
    uint64_t handle;
    enum handle_kind kind;
    void *object;
    uint32_t next; /* the walk's own */
};

/* Step to the next live handle; false after the last. Handles may be dropped meanwhile. */
bool handle_next(const struct handle_table *table, struct handle_walk *walk);

void handle_table_clear(struct handle_table *table);

#endif
