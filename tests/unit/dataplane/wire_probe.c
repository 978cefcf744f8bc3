/* Drives native/wire from commands on standard input; test_wire.py compares with a model.
 *
 *   wire_probe ring     put BYTES SEED -> 1 or 0 (full); take -> BYTES SEED, empty or broken; release
 *   wire_probe stream   two threads, COUNT records through the ring -> COUNT, or what went wrong
 *   wire_probe handles  new KIND -> NUMBER; get NUMBER KIND, drop NUMBER KIND -> 1 or 0;
 *                       set NUMBER KIND -> 1 or 0
 *   wire_probe ranges   add START BYTES -> 1 or 0; find START BYTES -> START or none; remove START -> 1 or 0
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "wire/handle_table.h"
#include "wire/ranges.h"
#include "wire/ring.h"

static struct ring producer, consumer;
static struct record *taken;

static void open_ring(void)
{
    int fd = memfd_create("probe", 0);
    if (ftruncate(fd, RING_MINIMUM) != 0 || !ring_map(&producer, fd) || !ring_map(&consumer, fd))
        exit(2);
    close(fd);
    taken = aligned_alloc(RING_ALIGNMENT, RING_RECORD_LIMIT);
}

static unsigned char pattern(uint32_t seed, uint32_t index)
{
    return (unsigned char)(seed * 31 + index * 7);
}

static int put(uint32_t bytes, uint32_t seed)
{
    unsigned char *place = ring_reserve(&producer, bytes);
    struct record head = {.bytes = bytes, .call = 1, .slot = RING_NO_SLOT, .sequence = seed};
    if (!place)
        return 0;
    memcpy(place, &head, sizeof head);
    for (uint32_t index = sizeof head; index < bytes; index++)
        place[index] = pattern(seed, index);
    ring_publish(&producer, bytes);
    return 1;
}

static int is_whole(const struct record *record)
{
    const unsigned char *content = (const unsigned char *)record;
    for (uint32_t index = sizeof *record; index < record->bytes; index++)
        if (content[index] != pattern(record->sequence, index))
            return 0;
    return 1;
}

static void take(void)
{
    switch (ring_take(&consumer, taken)) {
    case RING_EMPTY:
        puts("empty");
        break;
    case RING_BROKEN:
        puts("broken");
        break;
    case RING_RECORD:
        printf("%u %u%s\n", taken->bytes, taken->sequence, is_whole(taken) ? "" : " damaged");
        break;
    }
}

/* Write any word of the control page or the ring: what a hostile producer can do. */
static void poke(uint64_t offset, uint32_t value)
{
    unsigned char *base = (unsigned char *)producer.control;
    memcpy(base + offset % (producer.bytes - sizeof value), &value, sizeof value);
}

static int ring_mode(void)
{
    char line[100];
    uint32_t bytes, seed;
    uint64_t offset;
    open_ring();
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "put %u %u", &bytes, &seed) == 2)
            printf("%d\n", put(bytes, seed));
        else if (strcmp(line, "take\n") == 0)
            take();
        else if (strcmp(line, "release\n") == 0)
            ring_release(&consumer);
        else if (sscanf(line, "poke %" SCNu64 " %u", &offset, &seed) == 2)
            poke(offset, seed);
    }
    return 0;
}

static unsigned total;

static void *produce(void *unused)
{
    (void)unused;
    for (unsigned number = 0; number < total; number++)
        while (!put((uint32_t)sizeof(struct record) + number * 37 % 9000, number))
            ring_wait_room(&producer, 1000);
    return NULL;
}

static int stream_mode(void)
{
    pthread_t thread;
    open_ring();
    if (scanf("%u", &total) != 1)
        return 2;
    pthread_create(&thread, NULL, produce, NULL);
    for (unsigned number = 0; number < total;) {
        enum ring_status status = ring_take(&consumer, taken);
        if (status == RING_EMPTY) {
            ring_wait_record(&consumer, 1000000000);
            continue;
        }
        if (status == RING_BROKEN || taken->sequence != number || !is_whole(taken)) {
            printf("record %u is wrong\n", number);
            return 1;
        }
        number++;
    }
    pthread_join(thread, NULL);
    printf("%u\n", total);
    return 0;
}

static void print_live(const struct handle_table *table)
{
    struct handle_walk walk = {0};
    while (handle_next(table, &walk))
        printf("%" PRIu64 ":%d ", walk.handle, walk.kind);
    printf("\n");
}

static int handles_mode(void)
{
    struct handle_table table = {0};
    static int object;
    char line[100];
    uint64_t number;
    unsigned kind, other;
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "new %u", &kind) == 1)
            printf("%" PRIu64 "\n", handle_new(&table, (enum handle_kind)kind, &object));
        else if (sscanf(line, "set %" SCNu64 " %u", &number, &kind) == 2)
            printf("%d\n", handle_set(&table, number, (enum handle_kind)kind, &object));
        else if (sscanf(line, "get %" SCNu64 " %u", &number, &kind) == 2)
            printf("%d\n", handle_get(&table, number, (enum handle_kind)kind) != NULL);
        else if (sscanf(line, "drop %" SCNu64 " %u", &number, &kind) == 2)
            printf("%d\n", handle_drop(&table, number, (enum handle_kind)kind) != NULL);
        else if (sscanf(line, "replace %" SCNu64 " %u %u", &number, &kind, &other) == 3)
            printf("%d\n", handle_replace(&table, number, (enum handle_kind)kind, (enum handle_kind)other, line) != NULL);
        else
            print_live(&table);
    }
    handle_table_clear(&table);
    return 0;
}

static int ranges_mode(void)
{
    struct ranges ranges = {0};
    struct range removed;
    char line[100];
    uint64_t start, bytes;
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "add %" SCNu64 " %" SCNu64, &start, &bytes) == 2) {
            printf("%d\n", ranges_add(&ranges, (struct range){.start = start, .bytes = bytes}));
        } else if (sscanf(line, "find %" SCNu64 " %" SCNu64, &start, &bytes) == 2) {
            const struct range *found = ranges_find(&ranges, start, bytes);
            if (found)
                printf("%" PRIu64 "\n", found->start);
            else
                puts("none");
        } else if (sscanf(line, "remove %" SCNu64, &start) == 1) {
            printf("%d\n", ranges_remove(&ranges, start, &removed));
        }
    }
    ranges_clear(&ranges);
    return 0;
}

int main(int count, char **arguments)
{
    const char *mode = count > 1 ? arguments[1] : "";
    int result = 2;
    if (strcmp(mode, "ring") == 0)
        result = ring_mode();
    else if (strcmp(mode, "stream") == 0)
        result = stream_mode();
    else if (strcmp(mode, "handles") == 0)
        result = handles_mode();
    else if (strcmp(mode, "ranges") == 0)
        result = ranges_mode();
    free(taken);
    return result;
}
