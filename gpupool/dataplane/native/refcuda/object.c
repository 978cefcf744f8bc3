#include "refcuda/object.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* A handle's bits: 4 for the kind, 28 for the slot (from 1), 32 for the slot's generation. */
enum { KIND_BITS = 4, SLOT_BITS = 28, MOST_SLOTS = 1 << 24 };

struct slot {
    struct object *object; /* NULL: free */
    uint32_t generation;
    uint32_t next_free; /* from 1; 0: none */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct slot *slots;
static uint32_t used, capacity, first_free;

void object_init(struct object *object, enum kind kind, const void *owner, void (*destroy)(struct object *))
{
    atomic_init(&object->references, 1);
    object->kind = kind;
    object->handle = NULL;
    object->owner = owner;
    atomic_init(&object->ended, false);
    object->destroy = destroy;
}

static bool grow(void)
{
    uint32_t larger = capacity ? capacity * 2 : 64;
    struct slot *moved;
    if (used < capacity)
        return true;
    if (larger > MOST_SLOTS || !(moved = realloc(slots, larger * sizeof *slots)))
        return false;
    slots = moved;
    capacity = larger;
    return true;
}

/* A free slot's number, from 1; 0 when there is none. */
static uint32_t take_slot(void)
{
    uint32_t number = first_free;
    if (number) {
        first_free = slots[number - 1].next_free;
        return number;
    }
    if (!grow())
        return 0;
    slots[used] = (struct slot){.generation = 0};
    return ++used;
}

void *object_publish(struct object *object)
{
    const struct object *owner = object->owner;
    void *handle = NULL;
    uint32_t number;
    pthread_mutex_lock(&lock);
    number = owner && owner->ended ? 0 : take_slot();
    if (number) {
        struct slot *slot = &slots[number - 1];
        slot->object = object;
        slot->generation++;
        handle = (void *)((uintptr_t)slot->generation << (KIND_BITS + SLOT_BITS) | (uintptr_t)number << KIND_BITS |
                          object->kind);
        object->handle = handle;
    }
    pthread_mutex_unlock(&lock);
    return handle;
}

/* The live slot of a handle; the lock is held. */
static struct slot *find(enum kind kind, const void *handle)
{
    uint32_t number = (uint32_t)((uintptr_t)handle >> KIND_BITS) & ((1u << SLOT_BITS) - 1);
    struct slot *slot;
    if (!number || number > used)
        return NULL;
    slot = &slots[number - 1];
    return slot->object && slot->object->handle == handle && slot->object->kind == kind ? slot : NULL;
}

static struct object *vacate(struct slot *slot)
{
    struct object *object = slot->object;
    object->ended = true;
    slot->object = NULL;
    slot->next_free = first_free;
    first_free = (uint32_t)(slot - slots) + 1;
    return object;
}

void *object_acquire(enum kind kind, const void *handle)
{
    struct slot *slot;
    void *object = NULL;
    pthread_mutex_lock(&lock);
    if ((slot = find(kind, handle)))
        object = object_retain(slot->object);
    pthread_mutex_unlock(&lock);
    return object;
}

void *object_retire(enum kind kind, const void *handle)
{
    struct slot *slot;
    void *object = NULL;
    pthread_mutex_lock(&lock);
    if ((slot = find(kind, handle)))
        object = vacate(slot);
    pthread_mutex_unlock(&lock);
    return object;
}

void *object_retire_owned(enum kind kind, const void *owner)
{
    void *object = NULL;
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < used && !object; i++)
        if (slots[i].object && slots[i].object->kind == kind && slots[i].object->owner == owner)
            object = vacate(&slots[i]);
    pthread_mutex_unlock(&lock);
    return object;
}

void *object_retain(void *object)
{
    atomic_fetch_add(&((struct object *)object)->references, 1);
    return object;
}

void object_release(void *pointer)
{
    struct object *object = pointer;
    if (atomic_fetch_sub(&object->references, 1) == 1)
        object->destroy(object);
}

void object_drop(void *variable)
{
    void *object = *(void **)variable;
    if (object)
        object_release(object);
}
