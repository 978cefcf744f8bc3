"""What a view is made of: hosts and their devices, and what of them is granted."""

from dataclasses import dataclass

from gpupool.model.device import SharingMode
from gpupool.model.share import Part


@dataclass(frozen=True, kw_only=True)
class DeviceCapacity:
    """One device: what it has, and what of it is granted; compute in percent, memory in MiB.

    ``limit`` is what may be granted in all, ``guaranteed`` how much of ``granted`` is guaranteed:
    never more than ``total``. ``usable`` when the device is enabled and healthy. ``parts`` are the
    parts in use of a device that a geometry cuts.
    """

    device_id: str
    usable: bool = True
    traits: frozenset[str] = frozenset()
    product: str = ""
    link_group: str = ""
    sharing_mode: SharingMode = SharingMode.SHARED
    compute_total: int
    compute_limit: int
    compute_granted: int = 0
    compute_guaranteed: int = 0
    memory_total: int
    memory_limit: int
    memory_granted: int = 0
    memory_guaranteed: int = 0
    parts: frozenset[Part] = frozenset()


@dataclass(frozen=True, kw_only=True)
class HostCapacity:
    """One host and its devices; ``up`` while it reports.

    ``closed`` says why the host takes no new vGPUs; empty when it takes them, or is only silent.

    CPU (thousandths of a core) and memory (MiB) are what programs may take of the host: what is kept
    for the workers of its devices is off already.
    """

    name: str
    up: bool = True
    closed: str = ""
    cpu_total: int = 0
    cpu_free: int = 0
    memory_total: int = 0
    memory_free: int = 0
    devices: tuple[DeviceCapacity, ...] = ()
