/* A worker's use of the ledger, commanded over standard input, one answer line each:
 * take BYTES | give BYTES | take_host BYTES | give_host BYTES | busy NS | memory | compute | lost | churn (takes and gives for ever). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "check.h"
#include "worker/ledger.h"

static void churn(struct ledger *ledger)
{
    puts("churning");
    fflush(stdout);
    for (;;) {
        if (ledger_take(ledger, 1 << 20))
            ledger_give(ledger, 1 << 20);
    }
}

static void answer(struct ledger *ledger, const char *command, uint64_t number)
{
    uint64_t free_bytes, total_bytes;

    if (!strcmp(command, "take")) {
        printf("%d\n", ledger_take(ledger, number));
    } else if (!strcmp(command, "give")) {
        ledger_give(ledger, number);
        puts("ok");
    } else if (!strcmp(command, "take_host")) {
        printf("%d\n", ledger_take_host(ledger, number));
    } else if (!strcmp(command, "give_host")) {
        ledger_give_host(ledger, number);
        puts("ok");
    } else if (!strcmp(command, "busy")) {
        ledger_add_busy(ledger, number);
        puts("ok");
    } else if (!strcmp(command, "memory")) {
        ledger_memory(ledger, &free_bytes, &total_bytes);
        printf("%" PRIu64 " %" PRIu64 "\n", free_bytes, total_bytes);
    } else if (!strcmp(command, "compute")) {
        printf("%" PRIu64 "\n", ledger_compute(ledger));
    } else if (!strcmp(command, "lost")) {
        printf("%d\n", ledger_lost(ledger));
    } else {
        churn(ledger);
    }
}

int main(int count, char **arguments)
{
    char line[128], command[16];
    uint64_t number;
    struct ledger *ledger;

    CHECK(count == 3);
    ledger = ledger_open(open(arguments[1], O_RDWR), (unsigned)atoi(arguments[2]));
    printf("%s\n", ledger ? "open" : strerror(errno));
    fflush(stdout);
    while (ledger && fgets(line, sizeof line, stdin)) {
        number = 0;
        CHECK(sscanf(line, "%15s %" SCNu64, command, &number) >= 1);
        answer(ledger, command, number);
        fflush(stdout);
    }
    return 0;
}
