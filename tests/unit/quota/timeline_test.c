/* The timeline against the plainest one there is: a byte for each ns. Intervals in any order; while no gap is
 * forgotten both agree to the ns, afterwards the timeline charges too much, never too little. */
#include <string.h>

#include "check.h"
#include "worker/timeline.h"

enum { LENGTH = 4000, ROUNDS = 300 };

static unsigned long random_state = 1;

static uint64_t below(uint64_t limit)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % limit;
}

static uint64_t paint(unsigned char *busy, uint64_t from, uint64_t to)
{
    uint64_t fresh = 0;

    for (uint64_t at = from; at < to; at++)
        fresh += !busy[at];
    if (from < to)
        memset(busy + from, 1, to - from);
    return fresh;
}

/* Returns how often the timeline charged more than was fresh. */
static int compare(unsigned intervals, uint64_t longest)
{
    struct timeline timeline = {0};
    unsigned char busy[LENGTH + 1000] = {0};
    int more = 0;

    for (unsigned i = 0; i < intervals; i++) {
        uint64_t from = below(LENGTH), to = from + below(longest);
        uint64_t fresh = paint(busy, from, to), charged = timeline_cover(&timeline, from, to);

        CHECK(timeline.count <= TIMELINE_GAPS);
        CHECK(charged >= fresh && charged <= to - from);
        CHECK(charged == fresh || from < timeline.floor);
        more += charged != fresh;
    }
    return more;
}

static void survive_anything(void)
{
    struct timeline timeline;

    for (int round = 0; round < 20000; round++) {
        for (size_t i = 0; i < sizeof timeline; i++)
            ((unsigned char *)&timeline)[i] = (unsigned char)below(256);
        timeline.count = below(TIMELINE_GAPS + 2);
        for (int i = 0; i < 10; i++)
            timeline_cover(&timeline, below(UINT64_MAX), below(UINT64_MAX));
        CHECK(timeline.count <= TIMELINE_GAPS);
    }
}

int main(void)
{
    int more = 0;

    for (int round = 0; round < ROUNDS; round++) {
        CHECK(compare(TIMELINE_GAPS, 1 + below(900)) == 0);
        more += compare(1000, 3);
    }
    CHECK(more > 0);
    survive_anything();
    return 0;
}
