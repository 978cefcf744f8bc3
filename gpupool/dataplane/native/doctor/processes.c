#include "doctor/doctor.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOM 4500 /* bytes: a path's, and what /proc has in front of it */

/* Of another mount namespace are other containers and gpupool's workers. */
static bool is_here(const char *pid)
{
    char path[64], ours[64] = "", theirs[64] = "";
    snprintf(path, sizeof path, "/proc/%.20s/ns/mnt", pid);
    return readlink("/proc/self/ns/mnt", ours, sizeof ours - 1) > 0 &&
           readlink(path, theirs, sizeof theirs - 1) > 0 && strcmp(ours, theirs) == 0;
}

static void read_name(const char *pid, char *name, size_t room)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%.20s/comm", pid);
    FILE *file = fopen(path, "re");
    *name = 0;
    if (!file)
        return;
    if (fgets(name, (int)room, file))
        name[strcspn(name, "\n")] = 0;
    fclose(file);
}

/* The path of a libcuda in a line of maps; NULL: none. */
static char *library_in(char *line)
{
    char *path = strchr(line, '/');
    if (!path)
        return NULL;
    path[strcspn(path, "\n")] = 0;
    return strncmp(strrchr(path, '/'), "/libcuda.so", strlen("/libcuda.so")) == 0 ? path : NULL;
}

static void print_library(const char *pid, const char *path)
{
    static char there[ROOM + 32];
    char name[64];
    read_name(pid, name, sizeof name);
    snprintf(there, sizeof there, "/proc/%.20s/root%s", pid, path);
    printf("process %s (%s): %s: %s\n", pid, name, path, origin_text(library_origin(there)));
}

static void look_at(const char *pid)
{
    static char line[ROOM], last[ROOM];
    char path[64];
    snprintf(path, sizeof path, "/proc/%.20s/maps", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    *last = 0;
    while (fgets(line, sizeof line, file)) {
        const char *library = library_in(line);
        if (!library || strcmp(library, last) == 0)
            continue;
        print_library(pid, library);
        strcpy(last, library);
    }
    fclose(file);
}

void processes_report(void)
{
    DIR *processes = opendir("/proc");
    struct dirent *entry;
    while (processes && (entry = readdir(processes))) {
        const char *pid = entry->d_name;
        if (*pid >= '1' && *pid <= '9' && strtol(pid, NULL, 10) != (long)getpid() && is_here(pid))
            look_at(pid);
    }
    if (processes)
        closedir(processes);
}
