/* Prints the layout of a control message, or reads packets, each with its length before it, and prints what is read. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "wire/control.h"

#define FIELD(field) printf("%s %zu\n", #field, offsetof(struct control_message, field))

static void print_layout(void)
{
    printf("size %zu\n", sizeof(struct control_message));
    FIELD(magic); FIELD(version); FIELD(kind); FIELD(sequence); FIELD(status); FIELD(session); FIELD(claim);
    FIELD(vgpu); FIELD(index); FIELD(compute); FIELD(memory); FIELD(text);
    printf("MAGIC %u\nVERSION %u\nTEXT %d\nIDENTITY %d\nREVOKED %d\nFROZEN %d\nTHAWED %d\nMOVED %d\nRESIZED %d\n"
           "ANSWER %d\nDONE %d\nNOT_SUPPORTED %d\n",
           CONTROL_MAGIC, CONTROL_VERSION, CONTROL_TEXT, CONTROL_IDENTITY, CONTROL_REVOKED, CONTROL_FROZEN,
           CONTROL_THAWED, CONTROL_MOVED, CONTROL_RESIZED, CONTROL_ANSWER, CONTROL_DONE, CONTROL_NOT_SUPPORTED);
}

static void print_message(const unsigned char *packet, size_t bytes)
{
    struct control_message message;
    char vgpu[CONTROL_UUID];
    if (!control_decode(packet, bytes, &message)) {
        puts("-");
        return;
    }
    control_uuid(message.vgpu, vgpu);
    printf("%u %u %s %llu %zu\n", message.kind, message.sequence, vgpu, (unsigned long long)message.memory,
           strlen(message.text));
}

int main(int count, char **arguments)
{
    unsigned char packet[1024];
    unsigned short bytes;
    (void)arguments;
    if (count == 1)
        print_layout();
    else
        while (fread(&bytes, sizeof bytes, 1, stdin) == 1 && bytes <= sizeof packet &&
               fread(packet, 1, bytes, stdin) == bytes)
            print_message(packet, bytes);
    return 0;
}
