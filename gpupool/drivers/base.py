"""What a driver is: it finds the devices of one kind on this host and says how workers open them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpupool.dataplane.worker import Sandbox
from gpupool.drivers.parts import Parts
from gpupool.model.report import DeviceReport
from gpupool.model.share import Part


@dataclass(frozen=True)
class DeviceHandle:
    """How a worker opens a device: the vendor's library, the ordinal in it, what it needs and may do.

    ``context_mib`` is the device memory that each worker's context takes; ``contexts`` how many of them
    what the device reserves has room for. It backs allocations by ``granule`` bytes, which small ones
    share. ``worker_mib`` is how much of the host's memory a worker takes
    besides what it charges: the library's own; ``memory_in_host``: and all its device memory.
    """

    library: Path
    ordinal: int
    sandbox: Sandbox
    environment: Mapping[str, str] = field(default_factory=dict)
    context_mib: int = 0
    contexts: int = 0
    granule: int = 512
    worker_mib: int = 64
    memory_in_host: bool = False


def contexts(reserved_mib: int, context_mib: int) -> int:
    """Return how many contexts a device's reserve has room for; 0 when they take nothing."""
    return reserved_mib // context_mib if context_mib else 0


class Driver(ABC):
    """One kind of device. Methods may be called from several threads.

    ``sandbox`` is what workers of its devices may do. No method waits for a device or calls a vendor's
    library, which may hang or crash: that is done in processes of their own (see process). A driver
    without such a library needs ``discover`` and ``open`` only. ``parts`` cuts its devices into parts;
    None where it does not, and then it reports devices of the sharing mode ``shared`` only.
    """

    sandbox: Sandbox
    parts: Parts | None = None

    def start(self, changed: Callable[[], None]) -> None:  # noqa: B027 most have nothing to start
        """Begin to look at devices; ``changed`` is called whenever ``discover`` has news."""

    def stop(self) -> None:  # noqa: B027
        """Look no more, and leave no process behind."""

    def ready(self) -> bool:
        """Return whether every device was looked at; until then ``discover`` does not know all."""
        return True

    @abstractmethod
    def discover(self) -> list[DeviceReport]:
        """Return the devices as they were seen last; one that does not answer is listed as failed."""

    @abstractmethod
    def open(self, device_key: str, part: Part | None = None) -> DeviceHandle:
        """Return how a worker opens ``device_key``, or a part of it, or raise NotFound."""
