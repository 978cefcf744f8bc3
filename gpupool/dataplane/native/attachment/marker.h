#ifndef GPUPOOL_ATTACHMENT_MARKER_H
#define GPUPOOL_ATTACHMENT_MARKER_H

/* A string that the runtime's file holds and no other libcuda's: by it gpupool-doctor and gpupool/client/loaded.py tell
 * one from the other, also where it is only mapped by another process. */
#define RUNTIME_MARKER "gpupool's runtime in place of libcuda"

#endif
