"""The queue: waiting claims get room, the highest priority and then the oldest first.

A claim that finds none stays, saying why, and later ones of other sizes may pass it; there are no
reservations.
"""

import logging
from dataclasses import replace

from gpupool.allocator.demand import Demand
from gpupool.allocator.plan import NoRoom, Plan, plan
from gpupool.allocator.policies import BestFit
from gpupool.allocator.rooms import DeviceRoom, HostRoom
from gpupool.allocator.view import PoolView
from gpupool.conductor import binding, releasing, room
from gpupool.conductor.isolation import isolated
from gpupool.conductor.parts import Parts
from gpupool.db import claims, vgpus
from gpupool.model import errors
from gpupool.model.claim import Claim
from gpupool.placement.errors import NoCapacity

LOG = logging.getLogger(__name__)
# Plans for one claim in one pass; each refusal by Placement teaches the next plan something.
_PLANS = 8


def serve(parts: Parts) -> None:
    """Bind every waiting claim that finds room; stop early when Placement is not there."""
    with parts.database.reader() as session:
        waiting = claims.queued(session)
    one_pass = _Pass(parts)
    for claim in waiting:
        try:
            # It may have been released meanwhile, or another conductor serves it.
            with isolated(f"claim {claim.id} is not bound now"):
                one_pass.serve(claim)
        except errors.Unavailable as exc:
            LOG.warning("the queue waits: %s", exc)
            return


class _Pass:
    """One pass over the queue: the room of each pool as known now, and who found none."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._rooms: dict[str, list[HostRoom]] = {}
        self._refused: set[str] = set()
        # What Placement said last, by pool: the room that later claims miss may be missing for it.
        self._refusals: dict[str, str] = {}
        self._without: dict[tuple[object, ...], str] = {}

    def serve(self, claim: Claim) -> None:
        """Bind ``claim``, or write why it has to wait."""
        reason = self._without.get(_wishes(claim)) or self._bind(claim)
        if reason:
            self._without[_wishes(claim)] = reason
            self._parts.commit(releasing.note, claim.id, reason)

    def _bind(self, claim: Claim) -> str:
        """Return why there is no room, or nothing when the claim is on its way."""
        for _ in range(_PLANS):
            outcome = _plan(self._room(claim.pool_id), claim)
            if isinstance(outcome, NoRoom):
                return outcome.reason + self._refusals.get(claim.pool_id, "")
            choice = binding.Choice(claim_id=claim.id, device_ids=outcome.device_ids)
            error = binding.bind(self._parts, [choice]).get(claim.id)
            if isinstance(error, NoCapacity):
                self._refusals[claim.pool_id] = f"; Placement refused: {error}"
                self._refresh(claim.pool_id, outcome.device_ids)
            elif error is not None:
                raise error
            else:
                del self._rooms[claim.pool_id]
                return ""
        return self._refusals[claim.pool_id].removeprefix("; ")

    def _room(self, pool_id: str) -> list[HostRoom]:
        if pool_id not in self._rooms:
            with self._parts.database.reader() as session:
                found = room.rooms(session, pool_id, self._parts.inventory)
            self._rooms[pool_id] = [
                replace(each, devices=tuple(map(self._usable, each.devices))) for each in found
            ]
        return self._rooms[pool_id]

    def _usable(self, device: DeviceRoom) -> DeviceRoom:
        return replace(device, usable=False) if device.device_id in self._refused else device

    def _refresh(self, pool_id: str, device_ids: tuple[str, ...]) -> None:
        """Learn from Placement what others hold of devices that it refused."""
        before = _devices(self._rooms.pop(pool_id))
        for device_id in set(device_ids):
            self._see(device_id)
        after = _devices(self._room(pool_id))
        # Where it was not room that Placement found wanting, it is the device: reserved, or gone.
        same = {each.device_id for each in after if each in before}
        self._refused |= same.intersection(device_ids)
        del self._rooms[pool_id]

    def _see(self, device_id: str) -> None:
        held = self._parts.allocations.allocations_of(device_id)
        with self._parts.database.reader() as session:
            own = {vgpu.id for vgpu in vgpus.list_(session, {"device_id": device_id})}
        foreign = {consumer: each for consumer, each in held.items() if consumer not in own}
        self._parts.inventory.saw_foreign(device_id, foreign)


def _devices(rooms: list[HostRoom]) -> list[DeviceRoom]:
    return [device for host in rooms for device in host.devices]


def _plan(rooms: list[HostRoom], claim: Claim) -> Plan | NoRoom:
    """Plan on hosts that have not refused the claim yet, on all when those have no room."""
    others = [each for each in rooms if each.name not in claim.refused_by]
    if len(others) < len(rooms):
        outcome = plan(PoolView(others), Demand.of(claim), BestFit())
        if isinstance(outcome, Plan):
            return outcome
    return plan(PoolView(rooms), Demand.of(claim), BestFit())


def _wishes(claim: Claim) -> tuple[object, ...]:
    """Return what decides whether a claim finds room: two that wish the same find the same."""
    return claim.pool_id, Demand.of(claim)
