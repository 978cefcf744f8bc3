#ifndef REFCUDA_ATTRIBUTE_H
#define REFCUDA_ATTRIBUTE_H

#include "refcuda/device.h"

/* The value of a device attribute; INVALID_VALUE for a number that is none. */
CUresult device_attribute(const struct device *device, CUdevice_attribute attribute, int *value);

#endif
