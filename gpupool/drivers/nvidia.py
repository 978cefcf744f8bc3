"""NVIDIA GPUs, as NVML lists them."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pynvml
from oslo_config import cfg

from gpupool.dataplane.worker import Sandbox
from gpupool.drivers import base, nvlink
from gpupool.model import errors, traits
from gpupool.model.device import SharingMode
from gpupool.model.report import DeviceReport
from gpupool.model.states import DeviceHealth

LOG = logging.getLogger(__name__)
VENDOR = "NVIDIA"
MIB = 1 << 20


class NvidiaDriver(base.Driver):
    """Every GPU of this host that is not cut by MIG; shared by fractions."""

    sandbox = Sandbox.NVIDIA

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._options = conf.nvidia
        self._lock = threading.Lock()
        self._started = False
        # What the log was told last of each subject.
        self._said: dict[str, str] = {}
        self._known: dict[str, DeviceReport] = {}

    def discover(self) -> list[DeviceReport]:
        """See Driver. With no NVML there is no device; the log says so once."""
        with self._lock:
            if not self._start():
                return list(self._failed())
            try:
                return self._list()
            except pynvml.NVMLError as exc:
                LOG.warning("NVML does not answer: %s", exc)
                self._stop()
                return list(self._failed())

    def open(self, device_key: str) -> base.DeviceHandle:
        """See Driver. The worker sees this one device, as ordinal 0."""
        with self._lock:
            if device_key not in self._known:
                raise errors.NotFound(f"no NVIDIA device {device_key} on this host")
        library = Path(self._options.library)
        environment = {
            "CUDA_VISIBLE_DEVICES": device_key,
            # Programs must not share compiled code; workers have no home to keep it in either.
            "CUDA_CACHE_DISABLE": "1",
        }
        if library.is_absolute():
            environment["LD_LIBRARY_PATH"] = str(library.parent)
        context_mib = self._options.context_mib
        reserved = base.contexts(self._options.reserved_mib, context_mib)
        return base.DeviceHandle(library, 0, self.sandbox, environment, context_mib, reserved)

    def _start(self) -> bool:
        if self._started:
            return True
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as exc:
            self._say_once("NVML", f"no NVIDIA devices: {exc}")
            return False
        self._said.pop("NVML", None)
        self._started = True
        return True

    def _stop(self) -> None:
        """Start NVML anew next time: its driver may have been replaced."""
        self._started = False
        try:
            pynvml.nvmlShutdown()
        except pynvml.NVMLError as exc:
            LOG.debug("NVML did not shut down: %s", exc)

    def _list(self) -> list[DeviceReport]:
        found: dict[str, DeviceReport] = {}
        handles: dict[str, object] = {}
        levels = _levels()
        silent = False
        for index in range(pynvml.nvmlDeviceGetCount()):
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                for one in self._look(handle, levels):
                    found[one.key], handles[one.key] = one, handle
                self._said.pop(f"device {index}", None)
            except pynvml.NVMLError as exc:
                silent = True
                self._say_once(f"device {index}", f"NVIDIA device {index} does not answer: {exc}")
        lost = [one for one in self._failed() if silent and one.key not in found]
        linked = nvlink.groups(handles)
        found = {key: replace(one, link_group=linked[key]) for key, one in found.items()}
        self._known = found | {one.key: one for one in lost}
        return list(self._known.values())

    def _look(self, handle: object, levels: tuple[str, ...]) -> Iterator[DeviceReport]:
        """Yield the report of one GPU, unless MIG cuts it."""
        key = pynvml.nvmlDeviceGetUUID(handle)
        if _mig_enabled(handle):
            self._say_once(f"MIG {key}", f"NVIDIA device {key} is left out: MIG is enabled on it")
            return
        self._said.pop(f"MIG {key}", None)
        product = pynvml.nvmlDeviceGetName(handle)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle, pynvml.nvmlMemory_v2)
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
        capability = traits.trait("compute", "capability", str(major), str(minor))
        usable = (memory.total - memory.reserved) // MIB - self._options.reserved_mib
        yield DeviceReport(
            key=key,
            vendor=VENDOR,
            product=product,
            sharing_mode=SharingMode.SHARED,
            memory_mib=max(usable, 0),
            reserved_mib=self._options.reserved_mib,
            traits=(*traits.common(VENDOR, product, SharingMode.SHARED), capability, *levels),
        )

    def _failed(self) -> Iterator[DeviceReport]:
        """Yield every device seen before, as failed."""
        return (replace(one, health=DeviceHealth.FAILED) for one in self._known.values())

    def _say_once(self, subject: str, message: str) -> None:
        """Log the message unless it is what was last said of the subject."""
        if self._said.get(subject) != message:
            self._said[subject] = message
            LOG.warning("%s", message)


def _levels() -> tuple[str, ...]:
    """Return the traits of driver and API level."""
    version = pynvml.nvmlSystemGetCudaDriverVersion_v2()
    cuda = traits.trait("cuda", str(version // 1000), str(version % 1000 // 10))
    return (cuda, traits.trait("driver", pynvml.nvmlSystemGetDriverVersion().partition(".")[0]))


def _mig_enabled(handle: object) -> bool:
    try:
        current, _ = pynvml.nvmlDeviceGetMigMode(handle)
    except pynvml.NVMLError_NotSupported:
        return False
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)
