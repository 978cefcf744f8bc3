"""What an agent reports, and what the conductor answers: the two halves of desired state (D2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gpupool.model.attachment import AttachmentKind
from gpupool.model.device import SharingMode
from gpupool.model.share import Part, Share
from gpupool.model.states import DeviceHealth

# How many of each a report may list, far above what a host can serve.
LISTS_MAX: Mapping[str, int] = {
    "devices": 256,
    "vgpus": 16_384,
    "attachments": 16_384,
    "sessions": 65_536,
}


@dataclass(frozen=True, kw_only=True)
class DeviceReport:
    """One device as its driver sees it; fields as on Device."""

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


@dataclass(frozen=True, kw_only=True)
class VgpuReport:
    """One vGPU that exists on the host; ``error`` says why it could not be made as wanted.

    ``host_fault``: the cause is the host's (a full disk, a failed device), not what the claim asks for.
    """

    id: str
    generation: int
    error: str = ""
    host_fault: bool = False
    memory_used_mib: int = 0
    busy_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class AttachmentReport:
    """One attachment that exists on the host."""

    id: str
    generation: int
    error: str = ""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    cdi_device: str | None = None


@dataclass(frozen=True, kw_only=True)
class SessionReport:
    """One live session; fields as on Session."""

    id: str
    attachment_id: str
    vgpu_id: str
    program_pid: int
    worker_pid: int
    started_at: datetime
    memory_used_mib: int = 0
    busy_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class HostReport:
    """Everything a host has. ``generation`` is the desired state it last converged to, or 0.

    It counts in ``incarnation``, see DesiredState. ``cpu_milli`` and ``memory_mib`` as on Host.
    ``unable_reason`` says which resource of the host ran out, so that it can take no new vGPUs for now;
    empty when it can.
    """

    host: str
    hypervisor_hostname: str
    pool: str
    agent_version: str
    generation: int
    incarnation: str = ""
    cpu_milli: int = 0
    memory_mib: int = 0
    unable_reason: str = ""
    devices: tuple[DeviceReport, ...] = ()
    vgpus: tuple[VgpuReport, ...] = ()
    attachments: tuple[AttachmentReport, ...] = ()
    sessions: tuple[SessionReport, ...] = ()


@dataclass(frozen=True, kw_only=True)
class VgpuSpec:
    """One vGPU the host should have; ``device_key`` as in DeviceReport, ``sessions`` as on Claim.

    A conductor that does not say how many sessions is one of before there was a choice: 64. One that
    says no ``project_id`` is of before debts of device time outlived their vGPU, and one that says no
    ``index``, as on Vgpu, of before agents took programs' ordinals from it. The fields of the
    share are side by side, since older agents read them so; ``share`` has them together.
    """

    id: str
    claim_id: str
    device_key: str
    compute: int
    memory_mib: int
    generation: int
    sessions: int = 64
    project_id: str = ""
    index: int | None = None
    part: Part | None = None

    @property
    def share(self) -> Share:
        """Return what it has of its device, which is named by its key."""
        return Share(
            device_id=self.device_key,
            compute=self.compute,
            memory_mib=self.memory_mib,
            part=self.part,
        )


@dataclass(frozen=True, kw_only=True)
class AttachmentSpec:
    """One attachment the host should have; ``vgpu_ids`` in the order the program sees them."""

    id: str
    claim_id: str
    kind: AttachmentKind
    ticket: str = field(repr=False)
    vgpu_ids: tuple[str, ...]
    generation: int


@dataclass(frozen=True, kw_only=True)
class DesiredState:
    """Everything a host should have, and nothing else should it have.

    ``ended_sessions`` are sessions, by their ids, that are to end though attachment and vGPU stay; one
    that has ended, or was never there, is no error.
    Generations are compared within one ``incarnation`` only; a host that was forgotten and came back,
    or whose database was restored, has another, in which they begin anew.
    """

    host: str
    generation: int
    incarnation: str = ""
    vgpus: tuple[VgpuSpec, ...] = ()
    attachments: tuple[AttachmentSpec, ...] = ()
    ended_sessions: tuple[str, ...] = ()
