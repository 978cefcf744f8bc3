"""A proposed move: one vGPU on another device, so that less of the pool's room is in pieces."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ProposedMove:
    """One move that was proposed, and perhaps made.

    ``from_device`` and ``to_device`` are device ids. ``gain`` is how many percent of one device become
    usable by it (summed over devices, so it may exceed 100), ``cost_mib`` how many MiB of device memory
    have to be copied at most. ``applied``: it was begun; else ``reason`` says why not, "" on a dry run.
    """

    claim_id: str
    vgpu_id: str
    from_device: str
    to_device: str
    gain: float
    cost_mib: int
    applied: bool = False
    reason: str = ""
