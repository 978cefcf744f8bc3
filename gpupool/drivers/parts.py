"""What a driver does that cuts its devices into parts."""

from abc import ABC, abstractmethod

from gpupool.model.share import Part
from gpupool.model.states import DeviceHealth


class Parts(ABC):
    """The parts of the devices of one driver. Methods may be called from several threads.

    A part belongs to one vGPU; the conductor chooses kind and place, so a device never has parts that
    overlap unless somebody else cut it. All methods raise NotFound for a device that is not there, and
    Unavailable when the device does not answer. None may take longer than ``[agent] driver_timeout``: a
    vendor's library is called in a process of its own (see process).
    """

    @abstractmethod
    def plan(self, device_key: str, part: Part) -> None:
        """Raise Invalid unless the device could have ``part`` now; change nothing.

        One that is there already is as good as one that could be.
        """

    @abstractmethod
    def apply(self, device_key: str, part: Part) -> None:
        """Cut the device so that it has ``part``; a part that is there stays. Raises as ``plan``.

        When it returns, workers can open the part. Interrupted anywhere it is called again.
        """

    @abstractmethod
    def remove(self, device_key: str, part: Part) -> None:
        """Give the slices of ``part`` back; nothing happens when it is not there.

        Its workers have ended. Nothing of what they left in its memory may reach who has it next.
        """

    @abstractmethod
    def health(self, device_key: str, part: Part) -> tuple[DeviceHealth, str]:
        """Return whether ``part`` works, and why not; MISSING when it is not there."""

    @abstractmethod
    def found(self, device_key: str) -> frozenset[Part]:
        """Return the parts that the device has and that this driver made, also before a restart."""
