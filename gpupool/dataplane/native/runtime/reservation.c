/* A worker chooses addresses in a process of its own, so another worker may choose the same, or one that means
 * something else in the program. An address must mean one thing only, for the program passes nothing else. */
#include "runtime/reservation.h"

#include <sys/mman.h>
#include <unistd.h>

/* The pages of a range, less those at its ends that hold other memory of the session too. */
static uint64_t own_pages(const struct ranges *memory, const struct range *range, uint64_t *bytes)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t start = range->start / page * page, end = (range->start + range->bytes + page - 1) / page * page;
    if (start < end && ranges_touch(memory, start, page))
        start += page;
    if (start < end && ranges_touch(memory, end - page, page))
        end -= page;
    *bytes = start < end ? end - start : 0;
    return start;
}

bool reservation_make(const struct ranges *memory, const struct range *range)
{
    uint64_t bytes, start = own_pages(memory, range, &bytes);
    if (!bytes)
        return true;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    void *there = mmap((void *)start, bytes, PROT_NONE, flags, -1, 0);
    if (there == (void *)start)
        return true;
    /* Kernels before 4.17 take the address for a hint. */
    if (there != MAP_FAILED)
        munmap(there, bytes);
    return false;
}

void reservation_end(const struct ranges *memory, const struct range *range)
{
    uint64_t bytes, start = own_pages(memory, range, &bytes);
    if (bytes)
        munmap((void *)start, bytes);
}
