/* The bare ring: what one record costs with native/wire alone, between two processes. Prints nanoseconds
 * per one-way record, in bursts that the ring holds (processor time of the calling thread), and per round
 * trip (wall time). ring_bare COUNT BYTES */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "wire/ring.h"

#define BURST 500

static double now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void put(struct ring *ring, uint32_t bytes, uint16_t slot, uint32_t sequence)
{
    struct record *record;
    while (!(record = ring_reserve(ring, bytes)))
        ring_wait_room(ring, 1000);
    *record = (struct record){.bytes = bytes, .call = 1, .slot = slot, .sequence = sequence};
    ring_publish(ring, bytes);
}

/* Take records, answer those that ask, until one of call 1 with sequence 0 comes. */
static void serve(int fd)
{
    struct ring ring;
    struct record *record = aligned_alloc(RING_ALIGNMENT, RING_RECORD_LIMIT);
    ring_map(&ring, fd);
    for (;;) {
        if (ring_take(&ring, record) == RING_EMPTY) {
            ring_wait_record(&ring, 1000000000);
            continue;
        }
        if (record->slot != RING_NO_SLOT)
            slot_answer(&ring, record, 0, NULL, 0);
        if (record->sequence == 0)
            _exit(0);
    }
}

static uint32_t ask(struct ring *ring, uint32_t bytes, uint32_t sequence)
{
    put(ring, bytes, 0, sequence);
    while (!slot_wait(&ring->slots[0], sequence, 1000))
        continue;
    return sequence;
}

int main(int count, char **arguments)
{
    struct ring ring;
    uint32_t sequence = 1;
    if (count != 3)
        return 2;
    int calls = atoi(arguments[1]);
    uint32_t bytes = (uint32_t)atoi(arguments[2]);
    int fd = memfd_create("bare", 0);
    if (ftruncate(fd, RING_MINIMUM) != 0 || !ring_map(&ring, fd))
        return 1;
    pid_t child = fork();
    if (child == 0)
        serve(fd);
    ask(&ring, bytes, ++sequence);
    double spent = 0;
    for (int burst = 0; burst < calls / BURST; burst++) {
        double begun = now_ns(CLOCK_THREAD_CPUTIME_ID);
        for (int call = 0; call < BURST; call++)
            put(&ring, bytes, RING_NO_SLOT, ++sequence);
        spent += now_ns(CLOCK_THREAD_CPUTIME_ID) - begun;
        ask(&ring, bytes, ++sequence);
    }
    double begun = now_ns(CLOCK_MONOTONIC);
    for (int call = 0; call < calls / 10; call++)
        ask(&ring, bytes, ++sequence);
    double asked = now_ns(CLOCK_MONOTONIC) - begun;
    put(&ring, bytes, RING_NO_SLOT, 0);
    waitpid(child, NULL, 0);
    printf("%.1f %.1f\n", spent / (calls / BURST * BURST), asked / (calls / 10));
    return 0;
}
