"""Allocations of vGPUs: the ledger of what is granted (D1)."""

from collections.abc import Mapping, Sequence
from typing import Any

from gpupool.model import errors
from gpupool.placement import names
from gpupool.placement.allocation import Allocation, Grant
from gpupool.placement.client import PlacementClient
from gpupool.placement.errors import ConcurrentUpdate, NoCapacity

# Placement itself tries ten times before it reports a generation conflict of a provider.
_ATTEMPTS = 4


class Allocations:
    """Writes and reads what vGPUs hold; errors as PlacementClient's."""

    def __init__(self, client: PlacementClient) -> None:
        self._client = client

    def allocate(self, grants: Sequence[Grant], project_id: str, user_id: str) -> None:
        """Allocate all ``grants`` or none; the same grants again change nothing.

        NoCapacity when one does not fit or its device is gone; Conflict when a vGPU holds something
        else already; Unavailable leaves open whether it was written: repeat it, or deallocate each.
        """
        if len({grant.vgpu_id for grant in grants}) < len(grants):
            raise errors.Invalid("a vGPU is named twice in one request; allowed: once")
        generations: dict[str, int] = {}
        for _ in range(_ATTEMPTS):
            try:
                self._write(grants, project_id, user_id, generations)
            except ConcurrentUpdate as exc:
                conflict = exc
            else:
                return
            generations = self._generations(grants, project_id)
            if len(generations) == len(grants):
                return
        raise conflict

    def deallocate(self, vgpu_id: str) -> None:
        """Give back all a vGPU holds; nothing happens when that is nothing."""
        try:
            self._client.delete_allocation(vgpu_id)
        except errors.NotFound:
            return

    def get_allocation(self, vgpu_id: str) -> Allocation | None:
        """Return what a vGPU holds, or None."""
        return self._client.get_allocation(vgpu_id)

    def allocations_of(self, device_id: str) -> dict[str, dict[str, int]]:
        """Return amounts by resource class by consumer id; empty when the provider is gone."""
        try:
            return self._client.provider_allocations(device_id)
        except errors.NotFound:
            return {}

    def _write(
        self,
        grants: Sequence[Grant],
        project_id: str,
        user_id: str,
        generations: Mapping[str, int],
    ) -> None:
        """Write every grant in one request; a vGPU not in ``generations`` must hold nothing yet."""
        body = {
            grant.vgpu_id: _body(grant, project_id, user_id, generations.get(grant.vgpu_id))
            for grant in grants
        }
        try:
            self._client.set_allocations(body)
        except ConcurrentUpdate:
            raise
        except errors.Conflict as exc:
            raise NoCapacity(exc.message) from exc
        except errors.Invalid as exc:
            raise self._missing(grants) or exc from exc

    def _missing(self, grants: Sequence[Grant]) -> NoCapacity | None:
        """Return an error that names the devices of ``grants`` that Placement does not have."""
        devices = sorted({grant.device_id for grant in grants})
        gone = [device for device in devices if self._client.get_provider(device) is None]
        return NoCapacity(f"not in Placement: device {', '.join(gone)}") if gone else None

    def _generations(self, grants: Sequence[Grant], project_id: str) -> dict[str, int]:
        """Return the consumer generations of the vGPUs that hold what is granted already."""
        found = {}
        for grant in grants:
            held = self._client.get_allocation(grant.vgpu_id)
            if held is None:
                continue
            if held.resources != grant.resources() or held.project_id != project_id:
                raise errors.Conflict(f"vGPU {grant.vgpu_id} holds another allocation already")
            found[grant.vgpu_id] = held.generation
        return found


def _body(grant: Grant, project_id: str, user_id: str, generation: int | None) -> dict[str, Any]:
    """Return the part of a ``POST /allocations`` body that is about ``grant``."""
    allocations = {
        provider: {"resources": resources} for provider, resources in grant.resources().items()
    }
    return {
        "allocations": allocations,
        "project_id": project_id,
        "user_id": user_id,
        "consumer_type": names.CONSUMER_TYPE,
        "consumer_generation": generation,
    }
