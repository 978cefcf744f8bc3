#include <string.h>
#include <time.h>

#include "device.h"

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* As the kernels of testbed/kernels.c. */
static void add(const unsigned char *parameters)
{
    int *data, value, count;
    memcpy(&data, parameters, sizeof data);
    memcpy(&value, parameters + 8, sizeof value);
    memcpy(&count, parameters + 12, sizeof count);
    for (int index = 0; index < count; index++)
        data[index] += value;
}

static void spin(const unsigned char *parameters)
{
    uint64_t nanoseconds, begun = now();
    memcpy(&nanoseconds, parameters, sizeof nanoseconds);
    while (now() - begun < nanoseconds)
        continue;
}

const struct host_function *host_function(const char *name)
{
    static const struct host_function functions[] = {{"add", add, 16}, {"spin", spin, 8}};
    for (size_t index = 0; index < sizeof functions / sizeof *functions; index++)
        if (strcmp(functions[index].name, name) == 0)
            return &functions[index];
    return NULL;
}
