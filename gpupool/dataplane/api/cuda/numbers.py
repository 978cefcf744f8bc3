"""The messages by their numbers, from 1 on.

Sessions outlive an upgrade of the agent, so none changes its number: what is new comes last.
"""

_NUMBERED = """
snapshot memory_allocate memory_allocate_pitch memory_free memory_set copy_in copy_in_small
copy_out_small copy_arena copy_device staging_wait host_register host_unregister image_part
module_load module_unload module_function module_global launch stream_create stream_destroy
event_create event_destroy cuCtxSynchronize cuCtxGetLimit cuCtxSetLimit cuCtxGetCacheConfig
cuCtxSetCacheConfig cuCtxGetSharedMemConfig cuCtxSetSharedMemConfig cuCtxResetPersistingL2Cache
cuCtxGetStreamPriorityRange cuFuncGetAttribute cuFuncSetAttribute cuFuncSetCacheConfig
cuFuncSetSharedMemConfig cuOccupancyMaxActiveBlocksPerMultiprocessor
cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags cuOccupancyAvailableDynamicSMemPerBlock
cuMemGetInfo_v2 cuStreamQuery cuStreamSynchronize cuStreamWaitEvent cuEventQuery cuEventSynchronize
cuEventRecord cuEventRecordWithFlags cuEventElapsedTime
"""

NUMBERED = tuple(_NUMBERED.split())
