#include "worker/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/memory.h"
#include "worker/sandbox.h"

static const char *const sandboxes[SANDBOX_COUNT] = {
    [SANDBOX_REFERENCE] = "reference",
    [SANDBOX_NVIDIA] = "nvidia",
};

static bool read_number(const char *text, int *number)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < 0 || value > INT_MAX)
        return false;
    *number = (int)value;
    return true;
}

static bool read_sandbox(const char *name, int *sandbox)
{
    for (*sandbox = 0; *sandbox < SANDBOX_COUNT; ++*sandbox)
        if (strcmp(name, sandboxes[*sandbox]) == 0)
            return true;
    return false;
}

static bool read_option(int letter, const char *text, struct options *options)
{
    switch (letter) {
    case 's': options->session = text; return true;
    case 'L': options->library = text; return true;
    case 'S': return read_sandbox(text, &options->sandbox);
    case 'o': return read_number(text, &options->ordinal);
    case 'l': return read_number(text, &options->ledger);
    case 'n': return read_number(text, &options->slot);
    case 'c': return read_number(text, &options->connection);
    case 'r': return read_number(text, &options->ring);
    case 't': return read_number(text, &options->control);
    case 'd': return read_number(text, &options->device_state);
    case 'm': return read_number(text, &options->context_mib) && options->context_mib <= 1 << 20;
    case 'g': return read_number(text, &options->granule) && options->granule >= (int)MEMORY_UNIT;
    case 'u': return read_number(text, &options->uid) && options->uid > 0;
    case 'k': options->check = true; return true;
    default: return false;
    }
}

bool options_read(int count, char **arguments, struct options *options)
{
    static const struct option names[] = {
        {"session", required_argument, NULL, 's'}, {"library", required_argument, NULL, 'L'},
        {"ordinal", required_argument, NULL, 'o'}, {"ledger", required_argument, NULL, 'l'},
        {"slot", required_argument, NULL, 'n'}, {"connection", required_argument, NULL, 'c'},
        {"ring", required_argument, NULL, 'r'}, {"control", required_argument, NULL, 't'},
        {"device-state", required_argument, NULL, 'd'},
        {"context-mib", required_argument, NULL, 'm'},
        {"granule", required_argument, NULL, 'g'}, {"sandbox", required_argument, NULL, 'S'},
        {"uid", required_argument, NULL, 'u'},
        {"check", no_argument, NULL, 'k'}, {NULL, 0, NULL, 0},
    };
    int letter;
    *options = (struct options){
        .ordinal = -1, .ledger = -1, .slot = -1, .connection = -1, .ring = -1, .control = -1, .device_state = -1, .context_mib = -1,
        .sandbox = -1, .granule = MEMORY_UNIT,
    };
    while ((letter = getopt_long(count, arguments, "", names, NULL)) != -1)
        if (!read_option(letter, optarg, options))
            return false;
    if (optind != count || options->sandbox < 0)
        return false;
    return options->check || (options->session && options->library && options->ordinal >= 0 && options->ledger >= 0 &&
                              options->slot >= 0 && options->connection >= 0 && options->ring >= 0 &&
                              options->context_mib >= 0);
}

void options_print_usage(void)
{
    fputs("usage: gpupool-worker --sandbox reference|nvidia [--uid N] --session ID --library PATH --ordinal N "
          "--ledger FD --slot N --connection FD --ring FD --context-mib N [--granule BYTES] "
          "[--control FD] [--device-state FD]\n"
          "       gpupool-worker --sandbox reference|nvidia [--uid N] --check\n", stderr);
}
