#include "attachment/handshake.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "attachment/log.h"
#include "wire/control.h"

#define ANSWER_MS 120000 /* a device's library may take long to start */

static enum result unreachable(const char *path, const char *why)
{
    runtime_log("no session: %s: %s (was the claim released, or is the agent down?)", path, why);
    return RESULT_DEVICE_UNAVAILABLE;
}

/* A Unix socket's connect that a signal interrupts has done nothing. Returns the connection; -1 with errno. */
static int connect_address(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), failed;
    if (fd < 0)
        return -1;
    while ((failed = connect(fd, (const struct sockaddr *)address, sizeof *address)) && errno == EINTR)
        continue;
    if (!failed)
        return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

/* Connect; a path too long for a socket address is reached through an open descriptor. */
static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) < sizeof address.sun_path) {
        strcpy(address.sun_path, path);
        return connect_address(&address);
    }
    int place = open(path, O_PATH | O_CLOEXEC);
    if (place < 0)
        return -1;
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", place);
    int fd = connect_address(&address), reason = errno;
    close(place);
    errno = reason;
    return fd;
}

/* What came with a packet: the ring, then the control channel. */
enum { PASSED_RING, PASSED_CONTROL, PASSED };

static bool send_hello(int fd, uint32_t kind, int ordinal, const char *ticket)
{
    struct hello hello = {
        .magic = HANDSHAKE_MAGIC, .version = HANDSHAKE_VERSION, .kind = kind,
        .ordinal = (uint32_t)ordinal, .pid = (uint32_t)getpid(), .control = CONTROL_VERSION,
    };
    strncpy(hello.ticket, ticket, sizeof hello.ticket - 1);
    return send(fd, &hello, sizeof hello, MSG_NOSIGNAL) == (ssize_t)sizeof hello;
}

static void close_passed(int passed[PASSED])
{
    for (int index = 0; index < PASSED; index++) {
        if (passed[index] >= 0)
            close(passed[index]);
        passed[index] = -1;
    }
}

static void take_passed(struct msghdr *message, int passed[PASSED])
{
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    if (!header || header->cmsg_type != SCM_RIGHTS || header->cmsg_len < CMSG_LEN(sizeof(int)))
        return;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(passed, CMSG_DATA(header), (count < PASSED ? count : PASSED) * sizeof(int));
}

/* Read one packet and the descriptors that came with it (-1: none); the bytes read, -1 with errno. */
static ssize_t receive(int fd, void *buffer, size_t room, int passed[PASSED])
{
    union { struct cmsghdr header; char space[CMSG_SPACE(PASSED * sizeof(int))]; } control;
    struct iovec vector = {buffer, room};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    int there;
    passed[PASSED_RING] = passed[PASSED_CONTROL] = -1;
    while ((there = poll(&ready, 1, ANSWER_MS)) < 0 && errno == EINTR)
        continue;
    if (there == 0)
        errno = ETIMEDOUT;
    if (there <= 0)
        return -1;
    ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    if (got > 0)
        take_passed(&message, passed);
    return got;
}

struct answer {
    struct welcome head;
    struct welcome_vgpu vgpus[HANDSHAKE_DEVICES]; /* of HELLO_VGPUS */
};

static size_t size_of_each(uint32_t kind)
{
    return kind == HELLO_VGPUS ? sizeof(struct welcome_vgpu) : sizeof(struct welcome_device);
}

/* Whether a packet's head is ours; logs otherwise. */
static bool is_ours(const char *path, ssize_t got, size_t least, const uint32_t *head)
{
    if (got <= 0)
        unreachable(path, got == 0 ? "hung up" : strerror(errno));
    else if ((size_t)got < least || head[0] != HANDSHAKE_MAGIC || head[1] != HANDSHAKE_VERSION)
        unreachable(path, "speaks another protocol version");
    else
        return true;
    return false;
}

/* Say hello and read the welcome; -1 with `*result` set when there is none. Returns the connection. */
static int greet(const struct attachment *attachment, uint32_t kind, int ordinal, struct answer *answer,
                 int passed[PASSED], enum result *result)
{
    const char *path = attachment->socket;
    *result = RESULT_DEVICE_UNAVAILABLE;
    passed[PASSED_RING] = passed[PASSED_CONTROL] = -1;
    int fd = connect_to(path);
    if (fd < 0) {
        unreachable(path, strerror(errno));
        return -1;
    }
    ssize_t got = -1;
    if (send_hello(fd, kind, ordinal, attachment->ticket))
        got = receive(fd, answer, sizeof *answer, passed);
    if (is_ours(path, got, sizeof answer->head, &answer->head.magic)) {
        answer->head.message[HANDSHAKE_TEXT - 1] = 0;
        size_t size = sizeof answer->head + answer->head.device_count * size_of_each(kind);
        *result = (enum result)answer->head.error;
        if (*result != RESULT_OK)
            runtime_log("the agent refused: %s", answer->head.message);
        else if ((size_t)got == size)
            return fd;
        else
            *result = unreachable(path, "sent a welcome of the wrong size");
    }
    close_passed(passed);
    close(fd);
    return -1;
}

static enum result copy_vgpus(const struct attachment *attachment, const struct answer *answer, struct vgpu **vgpus,
                           int *count)
{
    *count = (int)answer->head.device_count;
    *vgpus = calloc((size_t)*count + 1, sizeof **vgpus);
    if (!*vgpus)
        return RESULT_OUT_OF_MEMORY;
    for (int index = 0; index < *count; index++) {
        const struct welcome_vgpu *given = &answer->vgpus[index];
        struct vgpu *made = &(*vgpus)[index];
        *made = (struct vgpu){attachment, (int)given->ordinal, given->memory, given->compute, {0}};
        memcpy(made->uuid, given->uuid, sizeof made->uuid);
    }
    return RESULT_OK;
}

enum result handshake_list(const struct attachment *attachment, struct vgpu **vgpus, int *count)
{
    enum result result = RESULT_OUT_OF_MEMORY;
    struct answer *answer = calloc(1, sizeof *answer);
    int passed[PASSED], fd = answer ? greet(attachment, HELLO_VGPUS, 0, answer, passed, &result) : -1;
    if (fd >= 0) {
        result = copy_vgpus(attachment, answer, vgpus, count);
        close_passed(passed);
        close(fd);
    }
    free(answer);
    return result;
}

static enum result wait_ready(int fd, int ring)
{
    struct ready ready;
    int passed[PASSED];
    ssize_t got = receive(fd, &ready, sizeof ready, passed);
    close_passed(passed);
    if (ring < 0)
        return unreachable("the agent", "sent no ring");
    if (!is_ours("the worker", got, sizeof ready, &ready.magic))
        return RESULT_DEVICE_UNAVAILABLE;
    if (ready.error != RESULT_OK) {
        ready.message[HANDSHAKE_TEXT - 1] = 0;
        runtime_log("the worker could not start: %s", ready.message);
    }
    return (enum result)ready.error;
}

enum result handshake_open(const struct vgpu *vgpu, struct opened *opened)
{
    enum result result = RESULT_OUT_OF_MEMORY;
    struct answer *answer = calloc(1, sizeof *answer);
    int passed[PASSED], fd = answer ? greet(vgpu->attachment, HELLO_OPEN, vgpu->ordinal, answer, passed, &result) : -1;
    free(answer);
    if (fd < 0)
        return result;
    result = wait_ready(fd, passed[PASSED_RING]);
    *opened = (struct opened){fd, passed[PASSED_RING], passed[PASSED_CONTROL]};
    if (result != RESULT_OK) {
        close_passed(passed);
        close(fd);
    }
    return result;
}
