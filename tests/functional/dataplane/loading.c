/* A program with much thread-local data that loads the runtime, uses it in a thread, unloads it while that
 * thread's destructors are still to run, and then forks. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PER_THREAD ((void *)2)

static _Thread_local volatile char much[200000];

static void *use(void *library)
{
    int (*retain)(void **, int) = (int (*)(void **, int))dlsym(library, "cuDevicePrimaryCtxRetain");
    int (*set)(void *) = (int (*)(void *))dlsym(library, "cuCtxSetCurrent");
    int (*synchronize)(void *) = (int (*)(void *))dlsym(library, "cuStreamSynchronize");
    void *context;
    much[1] = 1;
    if (retain(&context, 0) || set(context) || synchronize(PER_THREAD))
        puts("failed");
    dlclose(library);
    return NULL;
}

int main(void)
{
    pthread_t thread;
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    int (*init)(unsigned) = library ? (int (*)(unsigned))dlsym(library, "cuInit") : NULL;
    if (!init || init(0))
        return 1;
    pthread_create(&thread, NULL, use, library);
    pthread_join(thread, NULL);
    pid_t child = fork();
    if (child == 0)
        return 0;
    int status;
    waitpid(child, &status, 0);
    puts(status ? "the child failed" : "done");
    return 0;
}
