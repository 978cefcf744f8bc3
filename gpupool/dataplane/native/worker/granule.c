#include "worker/granule.h"

/* Whether an allocation lies in the granule; globals are part of their module, which is charged by itself. */
static bool holds_allocation(const struct session *session, uint64_t granule)
{
    uint64_t start = granule * session->granule;
    for (size_t at = ranges_before(&session->memory, start + (session->granule - 1)); at-- > 0;) {
        const struct range *range = &session->memory.items[at];
        if (range->start + range->bytes <= start)
            return false;
        if (!range->owner)
            return true;
    }
    return false;
}

uint64_t granules_of_its_own(const struct session *session, uint64_t address, uint64_t bytes)
{
    uint64_t first = address / session->granule, last = (address + (bytes - 1)) / session->granule;
    uint64_t count = last - first + 1;
    if (holds_allocation(session, first))
        count--;
    if (last != first && holds_allocation(session, last))
        count--;
    return count * session->granule;
}

uint64_t granules_whole(const struct session *session, uint64_t bytes)
{
    uint64_t granule = session->granule;
    return bytes > UINT64_MAX - granule ? UINT64_MAX : (bytes + granule - 1) / granule * granule;
}
