"""When each message is served while work waits; those that are not named are ordered.

What ends or changes something that work may use is ordered, as is what reads staging (image_part),
which is freed in the order of its use.
"""

from gpupool.dataplane.api.turn import Turn

_WORK = """
memory_set copy_in copy_in_small copy_out_small copy_arena copy_device staging_wait launch
cuCtxSynchronize cuStreamSynchronize cuStreamWaitEvent cuEventSynchronize cuEventRecord
cuEventRecordWithFlags cuEventElapsedTime
"""
_AHEAD = """
snapshot memory_allocate memory_allocate_pitch host_register module_load module_function
module_global stream_create event_create cuCtxGetLimit cuCtxGetCacheConfig cuCtxGetSharedMemConfig
cuCtxGetStreamPriorityRange cuFuncGetAttribute cuOccupancyMaxActiveBlocksPerMultiprocessor
cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags cuOccupancyAvailableDynamicSMemPerBlock
cuMemGetInfo_v2 cuModuleGetFunctionCount
"""
_PROGRESS = "cuStreamQuery cuEventQuery"

TURNS = {
    name: turn
    for turn, names in ((Turn.WORK, _WORK), (Turn.AHEAD, _AHEAD), (Turn.PROGRESS, _PROGRESS))
    for name in names.split()
}
