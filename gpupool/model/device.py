"""A device: one physical (or named as simulated) accelerator of a host."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gpupool.model.states import DeviceHealth

# Fixed for ever: device ids, which are Placement provider ids, come out of it.
NAMESPACE = uuid.UUID("8f0b7a3e-5d0c-5b61-9d52-6b6d9a0e4c11")


class SharingMode(StrEnum):
    """How a device is cut, see DESIGN section 1."""

    SHARED = "shared"
    MIG = "mig"
    MDEV = "mdev"
    VFIO = "vfio"
    EXCLUSIVE = "exclusive"


def device_id(host: str, key: str) -> str:
    """Return the UUID of the device that ``host`` calls ``key``; also its provider's UUID."""
    return str(uuid.uuid5(NAMESPACE, f"{host}:{key}"))


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device.

    ``key`` names it on its host for good: an NVIDIA UUID (``GPU-...``) or ``ref-N``.
    ``memory_mib`` is what may be granted: the device's memory less ``reserved_mib``.
    ``link_group`` names the devices of its host that a fast link (NVLink, for instance) connects
    with it, "" without one. ``extends_memory``: its driver can extend its memory into the host's.
    ``health_reason`` says why its health is not ok. ``enabled`` is the operator's wish: a disabled
    device takes no new vGPU. ``in_placement`` once its provider was written as it is to be; before
    that nothing of it can be granted.
    """

    id: str
    host_id: str
    key: str
    vendor: str
    product: str
    sharing_mode: SharingMode
    memory_mib: int
    reserved_mib: int = 0
    traits: tuple[str, ...] = ()
    health: DeviceHealth = DeviceHealth.OK
    health_reason: str = ""
    simulated: bool = False
    link_group: str = ""
    extends_memory: bool = False
    enabled: bool = True
    disabled_reason: str = ""
    in_placement: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None
