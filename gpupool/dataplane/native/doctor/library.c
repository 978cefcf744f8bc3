#include "doctor/doctor.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "attachment/marker.h"

enum origin library_origin(const char *path)
{
    enum origin origin = ORIGIN_UNREADABLE;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    off_t bytes = file < 0 ? -1 : lseek(file, 0, SEEK_END);
    void *content = bytes > 0 ? mmap(NULL, (size_t)bytes, PROT_READ, MAP_PRIVATE, file, 0) : MAP_FAILED;
    if (content != MAP_FAILED) {
        origin = memmem(content, (size_t)bytes, RUNTIME_MARKER, strlen(RUNTIME_MARKER)) ? ORIGIN_RUNTIME : ORIGIN_OTHER;
        munmap(content, (size_t)bytes);
    }
    if (file >= 0)
        close(file);
    return origin;
}

const char *origin_text(enum origin origin)
{
    static const char *const texts[] = {
        [ORIGIN_RUNTIME] = "gpupool's runtime",
        [ORIGIN_OTHER] = "NOT gpupool's runtime",
        [ORIGIN_UNREADABLE] = "cannot be read",
    };
    return texts[origin];
}

/* Whether a list as in LD_LIBRARY_PATH has the folder of `path`. */
static bool lists_folder(const char *list, const char *path)
{
    size_t folder = (size_t)(strrchr(path, '/') - path);
    while (list && *list) {
        size_t bytes = strcspn(list, ":;"), length = bytes;
        while (length > 1 && list[length - 1] == '/')
            length--;
        if (length == folder && strncmp(list, path, folder) == 0)
            return true;
        list += bytes + (list[bytes] != 0);
    }
    return false;
}

static const char *found_by(const char *path)
{
    const char *preload = getenv("LD_PRELOAD");
    if (preload && strstr(preload, path))
        return "LD_PRELOAD names it";
    if (strchr(path, '/') && lists_folder(getenv("LD_LIBRARY_PATH"), path))
        return "LD_LIBRARY_PATH leads to it";
    return "the dynamic loader found it by /etc/ld.so.conf, its cache or in its own folders";
}

bool library_report(void)
{
    Dl_info found;
    void *library = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    void *function = library ? dlsym(library, "cuInit") : NULL;
    if (!function || !dladdr(function, &found)) {
        printf("libcuda.so.1: cannot be loaded: %s\n", library ? "it has no cuInit" : dlerror());
        return false;
    }
    enum origin origin = library_origin(found.dli_fname);
    printf("libcuda.so.1: %s: %s\n", found.dli_fname, origin_text(origin));
    if (origin != ORIGIN_RUNTIME)
        printf("  %s; programs that load it do not reach their vGPUs\n", found_by(found.dli_fname));
    return origin == ORIGIN_RUNTIME;
}
