"""Grants and allocations: what is written to Placement for a vGPU, and what it tells of one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpupool.model.share import Share
from gpupool.placement import names


def resources(share: Share) -> dict[str, dict[str, int]]:
    """Return a share as Placement has it: amounts by resource class by provider."""
    return {share.device_id: {names.COMPUTE: share.compute, names.MEMORY_MIB: share.memory_mib}}


@dataclass(frozen=True, kw_only=True)
class Grant:
    """One vGPU to be, and its share; or a move, and what it holds."""

    vgpu_id: str
    share: Share

    def resources(self) -> dict[str, dict[str, int]]:
        """Return what is granted: amounts by resource class by provider."""
        return resources(self.share)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be granted together or not at all; ``key`` tells orders of one batch apart."""

    key: str
    grants: tuple[Grant, ...]
    project_id: str
    user_id: str


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """Everything one consumer holds; ``resources``: amounts by resource class by provider."""

    consumer_id: str
    consumer_type: str
    generation: int
    project_id: str
    user_id: str
    resources: Mapping[str, Mapping[str, int]]

    @classmethod
    def load(cls, consumer_id: str, record: Mapping[str, Any]) -> "Allocation":
        """Return the allocation of ``consumer_id`` that Placement's ``record`` describes."""
        return cls(
            consumer_id=consumer_id,
            consumer_type=record["consumer_type"],
            generation=record["consumer_generation"],
            project_id=record["project_id"],
            user_id=record["user_id"],
            resources={
                provider: entry["resources"] for provider, entry in record["allocations"].items()
            },
        )
