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
    struct ledger_time *time;
    uint32_t slots; /* as read once: another worker may change what the file says */
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

enum counter { MEMORY, HOST_MEMORY };

static _Atomic uint64_t *counter_of(struct ledger_slot *slot, enum counter counter)
{
    return counter == MEMORY ? &slot->memory : &slot->host_memory;
}

/* Another worker may have written anything: the sum stops at the top instead of wrapping. */
static uint64_t sum_of(struct ledger *ledger, enum counter counter)
{
    uint64_t used = 0;

    for (unsigned slot = 0; slot < ledger->slots; slot++) {
        if (__builtin_add_overflow(used, atomic_load(counter_of(&ledger->file->slot[slot], counter)), &used))
            return UINT64_MAX;
    }
    return used;
}

static bool fits(struct ledger *ledger, enum counter counter, uint64_t limit, uint64_t bytes)
{
    uint64_t used = sum_of(ledger, counter);

    return used <= limit && bytes <= limit - used;
}

/* The agent clears the slot of a worker that died; this is for the moment before it did. */
static void reclaim(struct ledger *ledger)
{
    for (unsigned slot = 0; slot < ledger->slots; slot++) {
        struct ledger_slot *one = &ledger->file->slot[slot];
        if ((atomic_load(&one->memory) || atomic_load(&one->host_memory)) && !slot_has_worker(ledger, slot)) {
            atomic_store(&one->memory, 0);
            atomic_store(&one->host_memory, 0);
        }
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
        atomic_store(&ledger->own->host_memory, 0);
        atomic_store(&ledger->own->pid, (uint32_t)getpid());
    }
    unlock(ledger);
    return owned;
}

static bool is_ledger(const struct ledger_file *file, uint32_t slots, off_t size)
{
    return file->magic == LEDGER_MAGIC && file->version >= LEDGER_VERSION_OLDEST &&
           file->version <= LEDGER_VERSION && slots >= 1 && slots <= LEDGER_SLOTS_MAX &&
           (uint64_t)size == ledger_size(slots);
}

static bool map(struct ledger *ledger)
{
    struct stat status;
    struct ledger_file *file;

    if (fstat(ledger->fd, &status) == -1)
        return false;
    if (status.st_size < (off_t)ledger_size(1) || status.st_size > (off_t)ledger_size(LEDGER_SLOTS_MAX)) {
        errno = EINVAL;
        return false;
    }
    file = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, ledger->fd, 0);
    if (file == MAP_FAILED)
        return false;
    ledger->slots = file->slots;
    if (is_ledger(file, ledger->slots, status.st_size) && ledger->slot < ledger->slots) {
        ledger->file = file;
        ledger->own = &file->slot[ledger->slot];
        ledger->time = (struct ledger_time *)&file->slot[ledger->slots];
        return true;
    }
    munmap(file, (size_t)status.st_size);
    errno = EINVAL;
    return false;
}

struct ledger *ledger_open(int fd, unsigned slot)
{
    struct ledger *ledger = calloc(1, sizeof *ledger);

    if (!ledger)
        return NULL;
    ledger->fd = fd;
    ledger->slot = slot;
    if (!map(ledger)) {
        free(ledger);
        return NULL;
    }
    pthread_mutex_init(&ledger->mutex, NULL);
    if (own_slot(ledger))
        return ledger;
    munmap(ledger->file, ledger_size(ledger->slots));
    free(ledger);
    errno = EBUSY;
    return NULL;
}

static bool take(struct ledger *ledger, enum counter counter, uint64_t limit, uint64_t bytes)
{
    bool taken;

    lock(ledger);
    if (!fits(ledger, counter, limit, bytes))
        reclaim(ledger);
    taken = fits(ledger, counter, limit, bytes);
    if (taken)
        atomic_fetch_add(counter_of(ledger->own, counter), bytes);
    unlock(ledger);
    return taken;
}

static void give(_Atomic uint64_t *counter, uint64_t bytes)
{
    uint64_t had = atomic_load(counter);

    while (!atomic_compare_exchange_weak(counter, &had, had > bytes ? had - bytes : 0))
        ;
}

bool ledger_take(struct ledger *ledger, uint64_t bytes)
{
    return take(ledger, MEMORY, atomic_load(&ledger->file->memory_limit), bytes);
}

void ledger_give(struct ledger *ledger, uint64_t bytes)
{
    give(&ledger->own->memory, bytes);
}

bool ledger_take_host(struct ledger *ledger, uint64_t bytes)
{
    uint64_t limit = atomic_load(&ledger->file->host_limit);

    return take(ledger, HOST_MEMORY, limit ? limit : UINT64_MAX, bytes);
}

void ledger_give_host(struct ledger *ledger, uint64_t bytes)
{
    give(&ledger->own->host_memory, bytes);
}

void ledger_memory(struct ledger *ledger, uint64_t *free_bytes, uint64_t *total_bytes)
{
    uint64_t limit = atomic_load(&ledger->file->memory_limit);
    uint64_t used = sum_of(ledger, MEMORY);

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

bool ledger_frozen(struct ledger *ledger)
{
    return atomic_load(&ledger->file->frozen) != 0;
}

bool ledger_lost(struct ledger *ledger)
{
    return atomic_load(&ledger->file->lost) != 0;
}

void ledger_add_busy(struct ledger *ledger, uint64_t busy_ns)
{
    atomic_fetch_add(&ledger->own->busy_ns, busy_ns);
}

void ledger_set_in_flight(struct ledger *ledger, uint64_t since_ns)
{
    atomic_store(&ledger->own->in_flight_ns, since_ns);
}

bool ledger_abandoned(struct ledger *ledger, uint64_t *from_ns, uint64_t *to_ns)
{
    bool found = false;

    lock(ledger);
    for (unsigned slot = 0; slot < ledger->slots && !found; slot++) {
        struct ledger_slot *one = &ledger->file->slot[slot];
        if (slot != ledger->slot && (!atomic_load(&one->ended_ns) || slot_has_worker(ledger, slot)))
            continue;
        *to_ns = atomic_exchange(&one->ended_ns, 0);
        *from_ns = atomic_exchange(&one->in_flight_ns, 0);
        found = *from_ns && *to_ns;
    }
    unlock(ledger);
    return found;
}

struct ledger_time *ledger_lock_time(struct ledger *ledger)
{
    lock(ledger);
    return ledger->time;
}

void ledger_unlock_time(struct ledger *ledger)
{
    unlock(ledger);
}
