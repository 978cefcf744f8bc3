"""The devices of this host, over all its drivers."""

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from oslo_config import cfg

from gpupool.dataplane.worker import Sandbox
from gpupool.drivers.base import DeviceHandle, Driver
from gpupool.drivers.nvidia import NvidiaDriver
from gpupool.drivers.parts import Parts
from gpupool.drivers.reference import ReferenceDriver
from gpupool.model import errors
from gpupool.model.report import DeviceReport
from gpupool.model.share import Part
from gpupool.model.states import DeviceHealth

LOG = logging.getLogger(__name__)
DRIVERS: Mapping[str, Callable[[cfg.ConfigOpts], Driver]] = {
    "nvidia": NvidiaDriver,
    "reference": ReferenceDriver,
}


class Inventory:
    """What the drivers of ``[agent] drivers`` last found; Invalid when one of these is unknown."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        unknown = sorted(set(conf.agent.drivers) - set(DRIVERS))
        if unknown:
            allowed = ", ".join(DRIVERS)
            raise errors.Invalid(f"[agent] drivers names {', '.join(unknown)}; allowed: {allowed}")
        self._drivers = [DRIVERS[name](conf) for name in conf.agent.drivers]
        self._found: dict[str, tuple[Driver, DeviceReport]] = {}

    def start(self, changed: Callable[[], None]) -> None:
        """Start the drivers, which look at devices and call ``changed`` when a device has changed."""
        for driver in self._drivers:
            driver.start(changed)

    def stop(self) -> None:
        """Stop the drivers and the processes that they started."""
        for driver in self._drivers:
            driver.stop()

    def ready(self) -> bool:
        """Return whether every device was looked at."""
        return all(driver.ready() for driver in self._drivers)

    def refresh(self) -> None:
        """Take what drivers saw last; a driver that fails keeps the devices it had."""
        for driver in self._drivers:
            try:
                reports = driver.discover()
            except Exception:
                LOG.exception("driver %s failed", type(driver).__name__)
                continue
            kept = {key: entry for key, entry in self._found.items() if entry[0] is not driver}
            self._found = kept | {report.key: (driver, report) for report in reports}

    def sandboxes(self) -> list[Sandbox]:
        """Return what kinds of sandbox workers of these drivers have."""
        return sorted({driver.sandbox for driver in self._drivers})

    def devices(self) -> tuple[DeviceReport, ...]:
        """Return the devices."""
        return tuple(report for _, report in self._found.values())

    def open(self, device_key: str, part: Part | None = None) -> DeviceHandle:
        """Return how a worker opens a device, or a part of it.

        NotFound when there is none, Unavailable if it failed.
        """
        driver = self._working(device_key)
        if part is not None:
            health, why = self._cutting(device_key).health(device_key, part)
            if health is not DeviceHealth.OK:
                raise errors.Unavailable(f"a part of device {device_key} is {health}: {why}")
        return driver.open(device_key, part)

    def cut(self, device_key: str, part: Part) -> None:
        """Make a part of a device; raises as ``open``, and Invalid when it can't."""
        self._working(device_key)
        self._cutting(device_key).apply(device_key, part)

    def give_back(self, device_key: str, part: Part) -> None:
        """Remove a part of a device, if both are there; raises Unavailable."""
        with suppress(errors.NotFound):
            self._cutting(device_key).remove(device_key, part)

    def keep_parts(self, wanted: Collection[tuple[str, Part]]) -> None:
        """Remove all parts of devices but those that are ``wanted``."""
        for key, (driver, _) in self._found.items():
            try:
                there = driver.parts.found(key) if driver.parts else ()
                for part in there:
                    if (key, part) not in wanted:
                        LOG.warning("part %s of device %s is nobody's: removed", part, key)
                        self.give_back(key, part)
            except errors.GpupoolError as exc:
                LOG.warning("parts of device %s are looked at later: %s", key, exc)

    def _cutting(self, device_key: str) -> Parts:
        driver, _ = self._found.get(device_key, (None, None))
        if driver is None:
            raise errors.NotFound(f"this host has no device {device_key}")
        if driver.parts is None:
            raise errors.Invalid(f"the driver of device {device_key} makes no parts")
        return driver.parts

    def _working(self, device_key: str) -> Driver:
        driver, report = self._found.get(device_key, (None, None))
        if driver is None or report is None:
            raise errors.NotFound(f"this host has no device {device_key}")
        if report.health is not DeviceHealth.OK:
            why = f": {report.health_reason}" if report.health_reason else ""
            raise errors.Unavailable(f"device {device_key} is {report.health}{why}")
        return driver
