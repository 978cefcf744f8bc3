/* Says what a relay sees of a message: for each line "number request reply", the two in hexadecimal or "-", the name,
 * whether it is answered, and of each bulk the ends, the bytes and the place. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "gpupool_message_view.h"

#define LIMIT 8192

/* Bytes of `hex`, in `to`. */
static void read_bytes(const char *hex, unsigned char *to)
{
    unsigned byte;
    for (; sscanf(hex, "%2x", &byte) == 1; hex += 2)
        *to++ = (unsigned char)byte;
}

static void say_bulk(const struct view_bulk *bulk, const unsigned char *request, const unsigned char *reply)
{
    uint64_t bytes = 0;
    bool known = view_bulk_bytes(bulk, request, reply, &bytes);
    printf(" %u:%u:%u", bulk->source, bulk->target, bulk->complete);
    if (!known)
        printf(":overflow");
    else if (bulk->rest)
        printf(":rest");
    else
        printf(":%" PRIu64, bytes);
    printf(":%" PRIu64, view_value(bulk->place, request));
}

int main(void)
{
    static char request_text[LIMIT], reply_text[LIMIT];
    static unsigned char request[LIMIT], reply[LIMIT];
    unsigned number;
    while (scanf("%u %8191s %8191s", &number, request_text, reply_text) == 3) {
        const struct message_view *view = &message_views[number];
        read_bytes(request_text, request);
        read_bytes(reply_text, reply);
        printf("%s %u %u %d", view->name, view->request_bytes, view->reply_bytes, view->answered);
        for (unsigned index = 0; index < view->handle_count; index++)
            printf(" %u.%u.%u", view->handles[index].at, view->handles[index].kind, view->handles[index].use);
        for (unsigned index = 0; index < view->bulk_count; index++)
            say_bulk(&view->bulks[index], request, reply);
        printf("\n");
    }
    return 0;
}
