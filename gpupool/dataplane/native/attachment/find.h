/* The attachments of a program: where it asks for sessions. Used by the runtime and by gpupool-doctor. */
#ifndef GPUPOOL_ATTACHMENT_FIND_H
#define GPUPOOL_ATTACHMENT_FIND_H

#include "wire/handshake.h"
#include "wire/result.h"

struct attachment {
    char *socket; /* path */
    char ticket[HANDSHAKE_TEXT];
};

struct attachments {
    struct attachment *items;
    int count;
};

/* More of them than ordinals of devices would tell apart are left out. */
#define ATTACHMENTS_MAX 64

/* The folder in which a container has a folder for each of its attachments. */
const char *attachments_folder(void);
/* Find the attachments that GPUPOOL_SOCKET and GPUPOOL_TICKET name, or else those in the folder, by their ids. Errors
 * are logged; then and when there are none the list may be empty. */
enum result attachments_find(struct attachments *found);
void attachments_clear(struct attachments *attachments);

#endif
