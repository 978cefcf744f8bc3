"""NVIDIA GPUs, as NVML lists them.

NVML is called in processes only (see process): one for each device, and one for what is about all of
them. So a call that never returns, or a library that crashes, costs one device.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from oslo_config import cfg

from gpupool.dataplane.worker import Sandbox
from gpupool.drivers import base
from gpupool.drivers.answers import Answer
from gpupool.drivers.watch import Question, Watch
from gpupool.model import errors, traits
from gpupool.model.device import SharingMode
from gpupool.model.report import DeviceReport
from gpupool.model.share import Part
from gpupool.model.states import DeviceHealth

LOG = logging.getLogger(__name__)
VENDOR = "NVIDIA"
MIB = 1 << 20
# The pages in which a GPU gives memory; small allocations share them.
GRANULE = 2 * MIB
# More than a machine takes; what lists more is broken.
_DEVICES_MAX = 64
_STOP_SECONDS = 3.0
_MODULE = "gpupool.drivers.nvml"
# What NVML says of all devices: how many there are, and the link group of each by UUID.
_System = tuple[int, dict[str, str]]


class NvidiaDriver(base.Driver):
    """Every GPU of this host that is not cut by MIG; shared by fractions."""

    sandbox = Sandbox.NVIDIA

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._options = conf.nvidia
        self._timing = {
            "timeout": float(conf.agent.driver_timeout),
            "interval": float(conf.agent.report_interval),
        }
        self._changed: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._system: Watch[_System] | None = None
        # By index. An answer is None for a device that MIG cuts.
        self._devices: list[Watch[DeviceReport | None]] = []
        self._links: dict[str, str] = {}
        # Devices whose links can't be asked for: doing so cost a process.
        self._unlinkable: list[int] = []
        self._asked: list[int] = []
        self._followed = False
        # By index what was logged last of a device.
        self._said: dict[int, str] = {}

    def start(self, changed: Callable[[], None]) -> None:
        """See Driver."""
        self._changed = changed
        question = Question(_MODULE, self._ask_system, _read_system)
        self._system = Watch("NVML", question, changed=self._follow, **self._timing)
        self._system.start()

    def stop(self) -> None:
        """See Driver."""
        with self._lock:
            watches = self._watches()
            self._devices, self._system = [], None
        for watch in watches:
            watch.stop()
        for watch in watches:
            watch.join(_STOP_SECONDS)

    def ready(self) -> bool:
        """See Driver."""
        with self._lock:
            watches = self._watches()
            linked = {*self._answering()} <= {*self._unlinkable} or self._are_linked()
        return self._followed and linked and all(watch.ready for watch in watches)

    def discover(self) -> list[DeviceReport]:
        """See Driver. With no NVML there is no device; the log says so once."""
        with self._lock:
            watches = list(self._devices)
        found: dict[str, DeviceReport] = {}
        for watch in watches:
            for report in self._reports(watch):
                before = found.get(report.key)
                # Numbers shift when a device goes: two may have said that they are the same.
                if before is None or before.health is not DeviceHealth.OK:
                    found[report.key] = report
        return [replace(each, link_group=self._links.get(each.key, "")) for each in found.values()]

    def open(self, device_key: str, part: Part | None = None) -> base.DeviceHandle:  # noqa: ARG002
        """See Driver. The worker sees this one device, as ordinal 0."""
        if device_key not in {each.key for each in self.discover()}:
            raise errors.NotFound(f"no NVIDIA device {device_key} on this host")
        library = Path(self._options.library)
        environment = {
            "CUDA_VISIBLE_DEVICES": device_key,
            # Programs must not share compiled code; workers have no home to keep it in either.
            "CUDA_CACHE_DISABLE": "1",
        }
        if self._options.clear_memory:
            environment["GPUPOOL_CLEAR_MEMORY"] = "1"
        if library.is_absolute():
            environment["LD_LIBRARY_PATH"] = str(library.parent)
        context_mib = self._options.context_mib
        reserved = base.contexts(self._options.reserved_mib, context_mib)
        return base.DeviceHandle(
            library,
            0,
            self.sandbox,
            environment,
            context_mib,
            reserved,
            GRANULE,
            worker_mib=self._options.worker_mib,
        )

    def _watches(self) -> list[Watch[Any]]:
        system: list[Watch[Any]] = [self._system] if self._system else []
        return [*system, *self._devices]

    def _reports(self, watch: Watch[DeviceReport | None]) -> Iterator[DeviceReport]:
        """Yield what is known of one device, as failed while its process does not answer."""
        report, trouble = watch.answer, watch.trouble
        if report and trouble:
            yield replace(report, health=DeviceHealth.FAILED, health_reason=trouble)
        elif report:
            yield report

    def _ask_system(self) -> dict[str, Any]:
        """Ask for links of devices that answer, unless asking for these has just cost a process."""
        with self._lock:
            system, answering = self._system, self._answering()
        if system and system.lost and self._asked:
            self._unlinkable = self._asked
        self._asked = [] if answering == self._unlinkable else answering
        return {"ask": "system", "linked": self._asked}

    def _answering(self) -> list[int]:
        return [at for at, one in enumerate(self._devices) if one.answer and not one.trouble]

    def _are_linked(self) -> bool:
        """Return whether it is known of every device that answers which are linked with it."""
        answers = [self._devices[at].answer for at in self._answering()]
        return all(each is None or each.key in self._links for each in answers)

    def _take_device(self) -> None:
        """Ask for the links of a device that answers at last."""
        with self._lock:
            if self._system and not self._are_linked():
                self._system.hurry()
        self._changed()

    def _follow(self) -> None:
        """Watch as many devices as there are, and take their links."""
        with self._lock:
            answer = self._system.answer if self._system else None
            if answer:
                count, links = answer
                self._take_links(links)
                for watch in self._devices[count:]:
                    watch.stop()
                del self._devices[count:]
                for index in range(len(self._devices), count):
                    self._devices.append(self._watch(index))
            self._followed = True
        self._changed()

    def _take_links(self, links: dict[str, str]) -> None:
        """Keep what links were known while a device does not answer: wires stay where they are."""
        known = {each.answer.key for each in self._devices if each.answer}
        links = links if links.keys() >= known else {**links, **self._links}
        self._links = {key: group for key, group in links.items() if {key, group} <= {*known, ""}}

    def _watch(self, index: int) -> Watch[DeviceReport | None]:
        question = Question(
            _MODULE,
            lambda: {"ask": "device", "index": index},
            partial(self._read_device, index),
        )
        name = f"NVIDIA device {index}"
        watch = Watch(name, question, changed=self._take_device, **self._timing)
        watch.start()
        return watch

    def _read_device(self, index: int, said: Any) -> DeviceReport | None:
        """Return the report of one GPU, or None when MIG cuts it."""
        answer = Answer(said)
        key, product = answer.identifier("uuid"), answer.name("name")
        if answer.flag("mig"):
            self._say_once(index, f"NVIDIA device {key} is left out: MIG is enabled on it")
            return None
        self._said.pop(index, None)
        major, minor = answer.numbers("capability", 2)
        free = answer.number("total") - answer.number("reserved")
        return DeviceReport(
            key=key,
            vendor=VENDOR,
            product=product,
            sharing_mode=SharingMode.SHARED,
            memory_mib=max(free // MIB - self._options.reserved_mib, 0),
            reserved_mib=self._options.reserved_mib,
            traits=(
                *traits.common(VENDOR, product, SharingMode.SHARED),
                traits.trait("compute", "capability", str(major), str(minor)),
                *_levels(answer),
            ),
        )

    def _say_once(self, index: int, message: str) -> None:
        """Log the message unless it is what was last said of the device."""
        if self._said.get(index) != message:
            self._said[index] = message
            LOG.warning("%s", message)


def _read_system(said: Any) -> _System:
    answer = Answer(said)
    return answer.number("count", _DEVICES_MAX), answer.identifiers("links", _DEVICES_MAX)


def _levels(answer: Answer) -> tuple[str, ...]:
    """Return the traits of driver and API level."""
    version = answer.number("cuda")
    cuda = traits.trait("cuda", str(version // 1000), str(version % 1000 // 10))
    return (cuda, traits.trait("driver", answer.name("driver").partition(".")[0]))
