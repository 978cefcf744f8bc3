/* What the client's things take of the host's memory, in bytes: worker and device library together, rounded up.
 * Charged to the vGPU, so that no session holds more of its host than the claim may. */
#ifndef GPUPOOL_WORKER_COST_H
#define GPUPOOL_WORKER_COST_H

#define COST_SESSION (4u << 20) /* waiting threads, staging and spans, besides the ring */
#define COST_STREAM (128u << 10) /* the library may serve each by a thread */
#define COST_EVENT (1u << 10)
#define COST_MODULE (64u << 10) /* besides its image */
#define COST_FUNCTION (8u << 10)
#define COST_RANGE 512u /* an allocation, or a module's global that was asked for */

#define STREAMS_MAX 1024u /* of one session: where each is a thread, they are no matter of memory alone */

#endif
