"""A vGPU: one granted share of one device; one Placement consumer of the same UUID."""

from dataclasses import dataclass
from datetime import datetime

from gpupool.model.share import Part, Share
from gpupool.model.states import VgpuState


@dataclass(frozen=True, kw_only=True)
class Vgpu:
    """One vGPU; ``device_id``, ``compute``, ``memory_mib`` and ``part`` are its share.

    ``index`` (from 0) is its ordinal within the claim, by which programs open it. What an elastic claim
    gets later has none that another had, as long as there are others: see claims.next_index.
    ``generation`` is the host's generation at the last change of what is wanted here. ``consumer_id`` is
    the consumer in Placement where that is not the vGPU itself: somebody else wrote the allocation.
    """

    id: str
    claim_id: str
    project_id: str
    host_id: str
    device_id: str
    index: int
    compute: int
    memory_mib: int
    part: Part | None = None
    consumer_id: str | None = None
    state: VgpuState
    generation: int
    memory_used_mib: int = 0
    busy_ns: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def consumer(self) -> str:
        """Return the id of the consumer in Placement that holds its share."""
        return self.consumer_id or self.id

    @property
    def counted(self) -> bool:
        """Return whether a claim that is binding or bound counts it.

        Not one by which the claim is to grow, before Placement agreed, nor one that it gives back.
        """
        return self.generation > 0 and self.state != VgpuState.REMOVING

    @property
    def share(self) -> Share:
        """Return what it has of its device."""
        return Share(
            device_id=self.device_id,
            compute=self.compute,
            memory_mib=self.memory_mib,
            part=self.part,
        )
