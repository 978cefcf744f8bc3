/*
 * What handles stand for: counted references and a table that tells a live handle from a stale or invented one.
 *
 * Every handle given to a program is an index into the table with a generation, never an address, so that a wrong one
 * is an error and not a crash.
 */
#ifndef REFCUDA_OBJECT_H
#define REFCUDA_OBJECT_H

#include <stdatomic.h>
#include <stdbool.h>

enum kind { KIND_CONTEXT = 1, KIND_STREAM, KIND_EVENT, KIND_MODULE, KIND_FUNCTION, KIND_LIBRARY, KIND_KERNEL };

/* The first member of everything that has a handle. */
struct object {
    atomic_uint references;
    enum kind kind;
    void *handle; /* NULL until published */
    const void *owner; /* an object that ends what it owns, or NULL */
    atomic_bool ended; /* its handle was taken out of the table: nothing new may come to belong to it */
    void (*destroy)(struct object *); /* called without locks, by whoever drops the last reference */
};

/* One reference, the caller's. */
void object_init(struct object *object, enum kind kind, const void *owner, void (*destroy)(struct object *));

/* Gives it a handle, which is returned; the table takes the caller's reference over, so the object may be gone already.
 * NULL when there is no memory, or when its owner has ended, of which the caller holds a reference. */
void *object_publish(struct object *object);

/* A new reference to what the handle stands for; NULL when it is stale or of another kind. */
void *object_acquire(enum kind kind, const void *handle);

/* Takes the handle out of the table and hands over the table's reference; NULL when it was not there. */
void *object_retire(enum kind kind, const void *handle);

/* The same for any one object of the kind that `owner` owns. */
void *object_retire_owned(enum kind kind, const void *owner);

void *object_retain(void *object);
void object_release(void *object);

/* HELD struct stream *stream = NULL; gives the reference back at the end of the scope. */
void object_drop(void *variable);
#define HELD __attribute__((cleanup(object_drop)))

#endif
