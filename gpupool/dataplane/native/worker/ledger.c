#include "worker/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Locks are the kernel's record locks on bytes of the file: they end with the process that holds
 * them, whatever it was doing, and leave nothing behind over a reboot. Byte 0 orders takes; byte
 * 1 + slot is held for the life of the slot's worker. */
enum { LOCK_TAKE = 0, LOCK_SLOTS = 1 };

struct ledger {
    struct ledger_file *file;
    struct ledger_slot *own;
    unsigned slot;
    int fd;
    pthread_mutex_t mutex; /* record locks are a process's: this one is for its threads */
};

static struct flock record(short type, unsigned byte)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
}

static void lock(struct ledger *ledger)
{
    struct flock wanted = record(F_WRLCK, LOCK_TAKE);

    pthread_mutex_lock(&ledger->mutex);
    while (fcntl(ledger->fd, F_SETLKW, &wanted) == -1 && errno == EINTR)
        ;
}

static void unlock(struct ledger *ledger)
{
    struct flock wanted = record(F_UNLCK, LOCK_TAKE);

    fcntl(ledger->fd, F_SETLK, &wanted);
    pthread_mutex_unlock(&ledger->mutex);
}

static bool slot_has_worker(struct ledger *ledger, unsigned slot)
{
    struct flock found = record(F_WRLCK, LOCK_SLOTS + slot);

    return slot == ledger->slot || fcntl(ledger->fd, F_GETLK, &found) == -1 || found.l_type != F_UNLCK;
}

/* Another worker may have written anything: the sum stops at the top instead of wrapping. */
static uint64_t memory_used(struct ledger *ledger)
{
    uint64_t used = 0;

    for (unsigned slot = 0; slot < LEDGER_SLOTS; slot++) {
        if (__builtin_add_overflow(used, atomic_load(&ledger->file->slot[slot].memory), &used))
            return UINT64_MAX;
    }
    return used;
}

static bool fits(struct ledger *ledger, uint64_t bytes)
{
    uint64_t limit = atomic_load(&ledger->file->memory_limit);
    uint64_t used = memory_used(ledger);

    return used <= limit && bytes <= limit - used;
}

/* The agent clears the slot of a worker that died; this is for the moment before it did. */
static void reclaim(struct ledger *ledger)
{
    for (unsigned slot = 0; slot < LEDGER_SLOTS; slot++) {
        if (atomic_load(&ledger->file->slot[slot].memory) && !slot_has_worker(ledger, slot))
            atomic_store(&ledger->file->slot[slot].memory, 0);
    }
}

static bool own_slot(struct ledger *ledger)
{
    struct flock wanted = record(F_WRLCK, LOCK_SLOTS + ledger->slot);
    bool owned;

    lock(ledger);
    owned = fcntl(ledger->fd, F_SETLK, &wanted) == 0;
    if (owned) {
        atomic_store(&ledger->own->memory, 0);
        atomic_store(&ledger->own->pid, (uint32_t)getpid());
    }
    unlock(ledger);
    return owned;
}

static struct ledger_file *map(int fd)
{
    struct stat status;
    struct ledger_file *file;

    if (fstat(fd, &status) == -1)
        return NULL;
    if (status.st_size != sizeof(struct ledger_file)) {
        errno = EINVAL;
        return NULL;
    }
    file = mmap(NULL, sizeof *file, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (file == MAP_FAILED)
        return NULL;
    if (file->magic == LEDGER_MAGIC && file->version == LEDGER_VERSION && file->slots == LEDGER_SLOTS)
        return file;
    munmap(file, sizeof *file);
    errno = EINVAL;
    return NULL;
}

struct ledger *ledger_open(int fd, unsigned slot)
{
    struct ledger *ledger;

    if (slot >= LEDGER_SLOTS) {
        errno = EINVAL;
        return NULL;
    }
    ledger = calloc(1, sizeof *ledger);
    if (!ledger)
        return NULL;
    ledger->file = map(fd);
    if (!ledger->file) {
        free(ledger);
        return NULL;
    }
    ledger->fd = fd;
    ledger->slot = slot;
    ledger->own = &ledger->file->slot[slot];
    pthread_mutex_init(&ledger->mutex, NULL);
    if (own_slot(ledger))
        return ledger;
    munmap(ledger->file, sizeof *ledger->file);
    free(ledger);
    errno = EBUSY;
    return NULL;
}

bool ledger_take(struct ledger *ledger, uint64_t bytes)
{
    bool taken;

    lock(ledger);
    if (!fits(ledger, bytes))
        reclaim(ledger);
    taken = fits(ledger, bytes);
    if (taken)
        atomic_fetch_add(&ledger->own->memory, bytes);
    unlock(ledger);
    return taken;
}

void ledger_give(struct ledger *ledger, uint64_t bytes)
{
    uint64_t had = atomic_load(&ledger->own->memory);

    while (!atomic_compare_exchange_weak(&ledger->own->memory, &had, had > bytes ? had - bytes : 0))
        ;
}

void ledger_memory(struct ledger *ledger, uint64_t *free_bytes, uint64_t *total_bytes)
{
    uint64_t limit = atomic_load(&ledger->file->memory_limit);
    uint64_t used = memory_used(ledger);

    *total_bytes = limit;
    *free_bytes = used < limit ? limit - used : 0;
}

uint64_t ledger_compute(struct ledger *ledger)
{
    uint32_t compute = atomic_load(&ledger->file->compute);

    if (compute < 1)
        return 1;
    return compute < 100 ? compute : 100;
}

bool ledger_lost(struct ledger *ledger)
{
    return atomic_load(&ledger->file->lost) != 0;
}

void ledger_add_busy(struct ledger *ledger, uint64_t busy_ns)
{
    atomic_fetch_add(&ledger->own->busy_ns, busy_ns);
}

struct ledger_time *ledger_lock_time(struct ledger *ledger)
{
    lock(ledger);
    return &ledger->file->time;
}

void ledger_unlock_time(struct ledger *ledger)
{
    unlock(ledger);
}
