/* Read before every file of what enters containers, so that it loads in all of them: with glibc 2.17 and later,
 * and with musl. gpupool/dataplane/libc_needs.py checks the result.
 *
 * Linking takes the newest version of each symbol. glibc 2.32 to 2.34 moved threads and dlopen into libc.so.6 and gave
 * them a new version there, but keeps the old one, which every older glibc has in libpthread.so.0 or libdl.so.2. musl
 * knows no versions. */
#ifndef GPUPOOL_PORTABLE_LIBC_H
#define GPUPOOL_PORTABLE_LIBC_H

#include <features.h>

#ifdef __GLIBC__

#if defined(__x86_64__)
#define OLDEST "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define OLDEST "GLIBC_2.17"
#else
#error "name the first version of glibc for this processor"
#endif
#define OLD(symbol) __asm__(".symver " #symbol "," #symbol "@" OLDEST)

OLD(dladdr);
OLD(dlclose);
OLD(dlerror);
OLD(dlopen);
OLD(dlsym);
OLD(pthread_attr_setstacksize);
OLD(pthread_create);
OLD(pthread_detach);
OLD(pthread_getspecific);
OLD(pthread_join);
OLD(pthread_key_create);
OLD(pthread_key_delete);
OLD(pthread_mutex_trylock);
OLD(pthread_once);
OLD(pthread_setspecific);
OLD(pthread_sigmask);
OLD(sem_destroy);
OLD(sem_init);
OLD(sem_post);
OLD(sem_timedwait);
OLD(sem_trywait);
OLD(sem_wait);

/* glibc 2.38 and later give C programs that ask for extensions the strtol of C23, under a name of its own. */
#undef __GLIBC_USE_C2X_STRTOL
#define __GLIBC_USE_C2X_STRTOL 0
#undef __GLIBC_USE_C23_STRTOL
#define __GLIBC_USE_C23_STRTOL 0

#endif
#endif
