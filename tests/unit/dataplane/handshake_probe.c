/* Prints the size and offsets of each handshake packet, for comparison with handshake.py. */
#include <stddef.h>
#include <stdio.h>

#include "wire/handshake.h"
#include "wire/result.h"

#define FIELD(type, field) printf("%s.%s %zu\n", #type, #field, offsetof(struct type, field))
#define RESULT(name) printf("result.%s %d\n", #name, RESULT_##name)
#define SIZE(type) printf("%s %zu\n", #type, sizeof(struct type))

int main(void)
{
    printf("magic %u\nversion %u\ntext %d\ndevices %d\n", HANDSHAKE_MAGIC, HANDSHAKE_VERSION, HANDSHAKE_TEXT,
           HANDSHAKE_DEVICES);
    printf("list %d\nopen %d\nvgpus %d\n", HELLO_LIST, HELLO_OPEN, HELLO_VGPUS);
    RESULT(OUT_OF_MEMORY); RESULT(NO_DEVICE); RESULT(INVALID_DEVICE); RESULT(DEVICE_UNAVAILABLE); RESULT(UNKNOWN);
    SIZE(hello);
    FIELD(hello, magic); FIELD(hello, version); FIELD(hello, kind); FIELD(hello, ordinal);
    FIELD(hello, pid); FIELD(hello, control); FIELD(hello, ticket);
    SIZE(welcome);
    FIELD(welcome, magic); FIELD(welcome, version); FIELD(welcome, error); FIELD(welcome, device_count);
    FIELD(welcome, ring_bytes); FIELD(welcome, message);
    SIZE(welcome_device);
    FIELD(welcome_device, compute); FIELD(welcome_device, memory);
    SIZE(welcome_vgpu);
    FIELD(welcome_vgpu, uuid); FIELD(welcome_vgpu, memory); FIELD(welcome_vgpu, compute);
    FIELD(welcome_vgpu, ordinal);
    SIZE(ready);
    FIELD(ready, magic); FIELD(ready, version); FIELD(ready, error); FIELD(ready, message);
    return 0;
}
