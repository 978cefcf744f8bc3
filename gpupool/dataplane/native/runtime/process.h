/* The process's state: its devices and their sessions, through fork() too. What the environment says is read once and
 * holds from then on. */
#ifndef GPUPOOL_RUNTIME_PROCESS_H
#define GPUPOOL_RUNTIME_PROCESS_H

#include "attachment/list.h"
#include "runtime/session.h"

/* What the API that the program speaks adds. */
struct process_api {
    /* Leave the devices that the program is to see. */
    enum result (*select)(struct vgpus *vgpus);
    /* Make session->device, once its worker serves. */
    enum result (*learn)(struct session *session);
    /* Around fork(): what is locked then is whole in the child, which forgets all of it. */
    void (*lock)(void);
    void (*unlock)(void);
    void (*forget)(void);
};

/* Learn what devices there are, unless it is known; no session is opened yet. */
enum result process_enter(const struct process_api *api);
bool process_entered(void);
int process_device_count(void);
/* NULL when there is no such device. */
const struct vgpu *process_device(int ordinal);
/* Bytes of memory that a device has, as of now; it must be there. */
uint64_t process_device_memory(int ordinal);
/* The session of a device, opened at need. */
enum result process_session(int ordinal, struct session **session);
/* The session of a device if it was opened, else NULL. */
struct session *process_opened(int ordinal);
/* The session whose device memory holds the range: `first` if it does, else any; NULL: none. */
struct session *process_owner(struct session *first, uint64_t address, uint64_t bytes);

#endif
