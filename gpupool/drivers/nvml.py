"""NVML, as driver processes call it: see child. Nothing here runs in the agent's own process."""

from typing import Any

import pynvml

from gpupool.drivers import nvlink
from gpupool.drivers.protocol import VendorError


class _Library:
    started = False


def answer(question: dict[str, Any]) -> Any:
    """Answer ``system`` (how many devices, which are linked) or ``device`` (what one is)."""
    try:
        _start()
        if question["ask"] == "system":
            return {
                "count": pynvml.nvmlDeviceGetCount(),
                "links": nvlink.groups(_handles(question["linked"])),
            }
        return _device(question["index"])
    except pynvml.NVMLError as exc:
        _stop()
        raise VendorError(str(exc)) from exc


def _start() -> None:
    if not _Library.started:
        pynvml.nvmlInit()
        _Library.started = True


def _stop() -> None:
    """Start NVML anew next time: its driver may have been replaced."""
    if _Library.started:
        _Library.started = False
        try:
            pynvml.nvmlShutdown()
        except pynvml.NVMLError:
            return


def _handles(indexes: list[int]) -> dict[str, object]:
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in indexes]
    return {pynvml.nvmlDeviceGetUUID(handle): handle for handle in handles}


def _device(index: int) -> dict[str, Any]:
    """Return one device. By its index, since looking for a UUID would touch the others too."""
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle, pynvml.nvmlMemory_v2)
    return {
        "uuid": pynvml.nvmlDeviceGetUUID(handle),
        "name": pynvml.nvmlDeviceGetName(handle),
        "mig": _mig_enabled(handle),
        "total": memory.total,
        "reserved": memory.reserved,
        "capability": list(pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
        "cuda": pynvml.nvmlSystemGetCudaDriverVersion_v2(),
        "driver": pynvml.nvmlSystemGetDriverVersion(),
    }


def _mig_enabled(handle: object) -> bool:
    try:
        current, _ = pynvml.nvmlDeviceGetMigMode(handle)
    except pynvml.NVMLError_NotSupported:
        return False
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)
