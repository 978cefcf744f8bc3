/* The simulated devices: as many and as large as the environment says. */
#ifndef REFCUDA_DEVICE_H
#define REFCUDA_DEVICE_H

#include <pthread.h>
#include <stdint.h>

#include "cuda/cuda_abi.h"

struct compute;
struct context;

enum { MOST_DEVICES = 64 };

struct device {
    int ordinal;
    size_t memory; /* bytes */
    unsigned units;

    /* Under `lock`; they exist while the device has a context. */
    pthread_mutex_t lock;
    unsigned contexts;
    struct compute *compute;
    char *arena; /* where its memory lies in this process; larger than `memory`, see memory.c */
    size_t arena_size;

    /* Under `primary_lock`, which is taken before any other. */
    pthread_mutex_t primary_lock;
    CUcontext primary;
    unsigned primary_users, primary_flags;
};

/* Reads the environment. INVALID_VALUE names a bad variable on stderr; NO_DEVICE when it asks for none. */
CUresult devices_open(void);

/* The device of an ordinal; NULL when there is none. */
struct device *device_find(CUdevice ordinal);
int device_count(void);

/* A context begins or ends on the device: its memory and compute units come and go with the first and the last. */
CUresult device_use(struct device *device);
void device_leave(struct device *device);

enum { PCI_DOMAIN = 0xfffe }; /* one where no real device is */
int device_pci_bus(const struct device *device);

#endif
