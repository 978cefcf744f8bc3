/* Eight threads of one worker take and give at once: the limit holds at every moment, and nothing is
 * left in the end. */
#include <fcntl.h>
#include <pthread.h>

#include "check.h"
#include "worker/ledger.h"

enum { THREADS = 8, ROUNDS = 2000, LIMIT = 5 };

static struct ledger *ledger;
static _Atomic int held;

static void *take_and_give(void *unused)
{
    (void)unused;
    for (int round = 0; round < ROUNDS; round++) {
        if (!ledger_take(ledger, 1))
            continue;
        CHECK(atomic_fetch_add(&held, 1) < LIMIT);
        atomic_fetch_sub(&held, 1);
        ledger_give(ledger, 1);
    }
    return NULL;
}

int main(int count, char **arguments)
{
    pthread_t threads[THREADS];
    uint64_t free_bytes, total_bytes;

    CHECK(count == 2);
    ledger = ledger_open(open(arguments[1], O_RDWR), 0);
    CHECK(ledger);
    ledger_memory(ledger, &free_bytes, &total_bytes);
    CHECK(free_bytes > LIMIT && ledger_take(ledger, free_bytes - LIMIT));
    for (int i = 0; i < THREADS; i++)
        CHECK(!pthread_create(&threads[i], NULL, take_and_give, NULL));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ledger_memory(ledger, &free_bytes, &total_bytes);
    CHECK(free_bytes == LIMIT);
    return 0;
}
