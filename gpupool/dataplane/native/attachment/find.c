/* Where attachments are found. `openstack gpu run` names them in the environment; into a container each is mounted as a
 * folder of its own, since variables of several devices of one container would replace each other, and a session over
 * ssh or su has none. */
#include "attachment/find.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attachment/log.h"

/* Equal to CONTAINER_RUN, and the paths below it, in gpupool/agent/cdi.py. */
#define FOLDER "/run/gpupool"
#define SOCKET_OF "%s/%s/socket/session.sock"
#define TICKET_OF "%s/%s/ticket"

const char *attachments_folder(void)
{
    const char *named = getenv("GPUPOOL_ATTACHMENTS");
    return named && *named ? named : FOLDER;
}

void attachments_clear(struct attachments *attachments)
{
    for (int index = 0; index < attachments->count; index++)
        free(attachments->items[index].socket);
    free(attachments->items);
    *attachments = (struct attachments){0};
}

/* Add one; it then has `socket`, which was malloc-ed. */
static bool add(struct attachments *found, char *socket, const char *ticket, size_t ticket_bytes)
{
    struct attachment *grown =
        socket ? realloc(found->items, (size_t)(found->count + 1) * sizeof *grown) : NULL;
    if (!grown) {
        free(socket);
        return false;
    }
    found->items = grown;
    struct attachment *made = &grown[found->count++];
    memset(made, 0, sizeof *made);
    made->socket = socket;
    if (ticket_bytes >= sizeof made->ticket)
        ticket_bytes = sizeof made->ticket - 1;
    memcpy(made->ticket, ticket, ticket_bytes);
    return true;
}

/* --- in the environment --- */

static int parts_of(const char *list)
{
    int parts = 1;
    for (; *list; list++)
        parts += *list == ':';
    return parts;
}

static const char *after(const char *list, size_t part)
{
    return list + part + (list[part] == ':');
}

/* Colons separate several; one path may have colons of its own. */
static enum result from_environment(const char *sockets, const char *tickets, struct attachments *found)
{
    int count = parts_of(tickets);
    if (count > 1 && parts_of(sockets) != count) {
        runtime_log("no device: GPUPOOL_SOCKET names %d sockets, GPUPOOL_TICKET has %d tickets; allowed: as many",
                    parts_of(sockets), count);
        return RESULT_NO_DEVICE;
    }
    for (int index = 0; index < count && found->count < ATTACHMENTS_MAX; index++) {
        size_t socket = count > 1 ? strcspn(sockets, ":") : strlen(sockets), ticket = strcspn(tickets, ":");
        if (!add(found, strndup(sockets, socket), tickets, ticket))
            return RESULT_OUT_OF_MEMORY;
        sockets = after(sockets, socket);
        tickets = after(tickets, ticket);
    }
    return RESULT_OK;
}

/* --- in the folder --- */

static char *path_of(const char *format, const char *folder, const char *name)
{
    size_t room = strlen(format) + strlen(folder) + strlen(name) + 1;
    char *path = malloc(room);
    if (path)
        snprintf(path, room, format, folder, name);
    return path;
}

/* The bytes read, without the end of the line; -1: the folder is no attachment's. */
static ssize_t read_ticket(const char *folder, const char *name, char *ticket, size_t room)
{
    char *path = path_of(TICKET_OF, folder, name);
    int file = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    ssize_t got = file < 0 ? -1 : read(file, ticket, room);
    if (path && file < 0 && errno != ENOENT && errno != ENOTDIR)
        runtime_log("%s: %s", path, strerror(errno));
    if (file >= 0)
        close(file);
    free(path);
    while (got > 0 && ticket[got - 1] == '\n')
        got--;
    return got;
}

static enum result add_folder(const char *folder, const char *name, struct attachments *found)
{
    char ticket[HANDSHAKE_TEXT];
    if (*name == '.' || found->count == ATTACHMENTS_MAX)
        return RESULT_OK;
    ssize_t bytes = read_ticket(folder, name, ticket, sizeof ticket - 1);
    if (bytes < 0)
        return RESULT_OK;
    bool added = add(found, path_of(SOCKET_OF, folder, name), ticket, (size_t)bytes);
    return added ? RESULT_OK : RESULT_OUT_OF_MEMORY;
}

/* Not alphasort: the order must not depend on the program's language. */
static int by_name(const struct dirent **one, const struct dirent **other)
{
    return strcmp((*one)->d_name, (*other)->d_name);
}

static enum result from_folder(const char *folder, struct attachments *found)
{
    struct dirent **names;
    enum result result = RESULT_OK;
    int count = scandir(folder, &names, NULL, by_name);
    if (count < 0) {
        if (errno != ENOENT)
            runtime_log("%s: %s", folder, strerror(errno));
        return RESULT_OK;
    }
    for (int index = 0; index < count; index++) {
        if (result == RESULT_OK)
            result = add_folder(folder, names[index]->d_name, found);
        free(names[index]);
    }
    free(names);
    return result;
}

enum result attachments_find(struct attachments *found)
{
    const char *sockets = getenv("GPUPOOL_SOCKET"), *tickets = getenv("GPUPOOL_TICKET");
    *found = (struct attachments){0};
    enum result result = sockets && *sockets ? from_environment(sockets, tickets ? tickets : "", found)
                                          : from_folder(attachments_folder(), found);
    if (result != RESULT_OK)
        attachments_clear(found);
    return result;
}
