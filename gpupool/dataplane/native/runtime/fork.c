/* pthread_atfork is a function of musl's; glibc has it in an archive only, which calls what glibc alone has. Of these
 * weak symbols one is there, with either. */
#include "runtime/fork.h"

#include <pthread.h>
#include <stddef.h>

#pragma weak pthread_atfork
extern int __register_atfork(void (*)(void), void (*)(void), void (*)(void), void *) __attribute__((weak));

bool fork_watch(void (*before)(void), void (*parent)(void), void (*child)(void))
{
    /* This library is never unmapped (-z nodelete), so glibc need not know whose functions they are. */
    if (__register_atfork)
        return !__register_atfork(before, parent, child, NULL);
    return pthread_atfork && !pthread_atfork(before, parent, child);
}
