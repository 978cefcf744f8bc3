"""What a driver is: it finds the devices of one kind on this host and says how workers open them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpupool.model.report import DeviceReport


@dataclass(frozen=True)
class DeviceHandle:
    """How a worker opens a device: the vendor's library, the ordinal in it, what it needs set."""

    library: Path
    ordinal: int
    environment: Mapping[str, str] = field(default_factory=dict)


class Driver(ABC):
    """One kind of device. Methods may be called from several threads."""

    @abstractmethod
    def discover(self) -> list[DeviceReport]:
        """Return the devices as they are now; a device that does not answer is listed as failed."""

    @abstractmethod
    def open(self, device_key: str) -> DeviceHandle:
        """Return how a worker opens ``device_key``, or raise NotFound."""
