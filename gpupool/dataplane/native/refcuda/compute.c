#include "refcuda/compute.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "refcuda/driver.h"

/* A grid while it runs; on its caller's stack. */
struct running {
    const struct grid *grid;
    uint64_t blocks, next, left;
    struct running *following;
};

struct compute {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    struct running *first; /* those with blocks to hand out, in the order of their turns */
    unsigned units, threads;
    bool ending;
};

/* One thread's own, on the heap: no stack has to hold it. */
struct unit {
    struct compute *compute;
    _Alignas(64) char shared[SHARED_LARGEST];
};

struct compute *compute_new(unsigned units)
{
    struct compute *compute = calloc(1, sizeof *compute);
    if (!compute)
        return NULL;
    pthread_mutex_init(&compute->lock, NULL);
    pthread_cond_init(&compute->work, NULL);
    pthread_cond_init(&compute->done, NULL);
    compute->units = units;
    return compute;
}

/* Takes the most urgent grid out of the list: the first of those with the lowest number. */
static struct running *take_turn(struct compute *compute)
{
    struct running **best = &compute->first, *running;
    for (struct running **at = &compute->first; *at; at = &(*at)->following)
        if ((*at)->grid->priority < (*best)->grid->priority)
            best = at;
    if ((running = *best))
        *best = running->following;
    return running;
}

static void append(struct compute *compute, struct running *running)
{
    struct running **at = &compute->first;
    while (*at)
        at = &(*at)->following;
    running->following = NULL;
    *at = running;
}

static void run_blocks(const struct grid *grid, uint64_t first, uint64_t number, void *shared)
{
    struct refcuda_block block = {grid->gridDim, grid->blockDim, {0, 0, 0}, shared, grid->shared_bytes};
    uint64_t width = grid->gridDim.x, height = grid->gridDim.y;
    for (uint64_t i = first; i < first + number; i++) {
        block.blockIdx.x = (unsigned)(i % width);
        block.blockIdx.y = (unsigned)(i / width % height);
        block.blockIdx.z = (unsigned)(i / width / height);
        grid->run(&block, grid->arguments);
    }
}

/* Runs some blocks of one grid. The lock is held, and given up while they run. */
static void run_turn(struct compute *compute, void *shared)
{
    struct running *running = take_turn(compute);
    /* Few hand-outs for many small blocks, still several per unit for an even end. */
    uint64_t share = running->blocks / (compute->units * 16) + 1, first = running->next;
    uint64_t number = running->blocks - first < share ? running->blocks - first : share;
    running->next += number;
    if (running->next < running->blocks)
        append(compute, running);
    pthread_mutex_unlock(&compute->lock);
    run_blocks(running->grid, first, number, shared);
    pthread_mutex_lock(&compute->lock);
    if (!(running->left -= number))
        pthread_cond_broadcast(&compute->done);
}

static void *unit_main(void *argument)
{
    struct unit *unit = argument;
    struct compute *compute = unit->compute;
    pthread_mutex_lock(&compute->lock);
    while (!compute->ending)
        if (compute->first)
            run_turn(compute, unit->shared);
        else
            pthread_cond_wait(&compute->work, &compute->lock);
    free(unit);
    compute->threads--;
    pthread_cond_broadcast(&compute->done);
    pthread_mutex_unlock(&compute->lock);
    return NULL;
}

/* The lock is held. */
static bool start_unit(struct compute *compute)
{
    struct unit *unit = aligned_alloc(_Alignof(struct unit), sizeof *unit);
    if (!unit)
        return false;
    unit->compute = compute;
    if (driver_start_thread("a compute unit", unit_main, unit)) {
        compute->threads++;
        return true;
    }
    free(unit);
    return false;
}

bool compute_run(struct compute *compute, const struct grid *grid)
{
    struct running running = {.grid = grid};
    bool started;
    running.blocks = running.left = (uint64_t)grid->gridDim.x * grid->gridDim.y * grid->gridDim.z;
    pthread_mutex_lock(&compute->lock);
    while (compute->threads < compute->units && start_unit(compute))
        continue;
    if ((started = compute->threads)) {
        append(compute, &running);
        pthread_cond_broadcast(&compute->work);
        while (running.left)
            pthread_cond_wait(&compute->done, &compute->lock);
    }
    pthread_mutex_unlock(&compute->lock);
    return started;
}

void compute_end(struct compute *compute)
{
    pthread_mutex_lock(&compute->lock);
    compute->ending = true;
    pthread_cond_broadcast(&compute->work);
    while (compute->threads)
        pthread_cond_wait(&compute->done, &compute->lock);
    pthread_mutex_unlock(&compute->lock);
    pthread_cond_destroy(&compute->work);
    pthread_cond_destroy(&compute->done);
    pthread_mutex_destroy(&compute->lock);
    free(compute);
}
