#include "wire/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

bool control_decode(const void *packet, size_t bytes, struct control_message *message)
{
    if (bytes != sizeof *message)
        return false;
    memcpy(message, packet, sizeof *message);
    message->text[CONTROL_TEXT - 1] = 0;
    return message->magic == CONTROL_MAGIC && message->version >= 1 && message->version <= CONTROL_VERSION;
}

void control_uuid(const uint8_t uuid[16], char text[CONTROL_UUID])
{
    static const char digits[] = "0123456789abcdef";
    for (int index = 0; index < 16; index++) {
        if (index == 4 || index == 6 || index == 8 || index == 10)
            *text++ = '-';
        *text++ = digits[uuid[index] >> 4];
        *text++ = digits[uuid[index] & 15];
    }
    *text = 0;
}

void control_open(struct control *control, int listener)
{
    control->listener = listener;
    control->connection = -1;
}

static void hang_up(int *descriptor)
{
    if (*descriptor >= 0)
        close(*descriptor);
    *descriptor = -1;
}

void control_close(struct control *control)
{
    hang_up(&control->connection);
    hang_up(&control->listener);
}

int control_descriptor(const struct control *control)
{
    return control->connection >= 0 ? control->connection : control->listener;
}

static bool accept_agent(struct control *control)
{
    if (control->listener < 0)
        return false;
    control->connection = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    return control->connection >= 0;
}

bool control_next(struct control *control, struct control_message *message)
{
    struct control_message packet;
    while (control->connection >= 0 || accept_agent(control)) {
        ssize_t got = read(control->connection, &packet, sizeof packet);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return false;
        if (got > 0 && control_decode(&packet, (size_t)got, message))
            return true;
        hang_up(&control->connection);
    }
    return false;
}

void control_answer(const struct control *control, const struct control_message *message, enum control_status status)
{
    struct control_message answer = {
        .magic = CONTROL_MAGIC, .version = message->version, .kind = CONTROL_ANSWER, .sequence = message->sequence,
        .status = status,
    };
    if (control->connection >= 0)
        send(control->connection, &answer, sizeof answer, MSG_DONTWAIT | MSG_NOSIGNAL);
}
