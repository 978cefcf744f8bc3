"""Plans: which devices the vGPUs of a claim go to, or why there is no room."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpupool.allocator.policy import BestFit, Policy
from gpupool.allocator.view import Amounts, Flags, PoolView
from gpupool.model.claim import Claim

Filters = tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One device for each vGPU of the claim, in the order of the vGPUs' indexes."""

    device_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class NoRoom:
    """Why a claim has no place.

    ``filters`` are what devices had to pass, in order, each with how many devices were left after
    it. ``impossible`` when the pool could not hold the claim even empty, with every device and host
    in order; the filters then are about that empty pool. A pool without devices is never impossible.
    """

    reason: str
    impossible: bool
    filters: Filters


def plan(view: PoolView, claim: Claim, policy: Policy | None = None) -> Plan | NoRoom:
    """Return devices for all ``claim.count`` vGPUs, all on one host, or NoRoom.

    The vGPUs go to different devices where the host has enough that fit, else they share. The same
    view and claim give the same plan.
    """
    slots, filters = _slots(view, claim, empty=False)
    if slots.any():
        return Plan(device_ids=_choose(view, claim, slots, policy or BestFit()))
    ever, ever_filters = _slots(view, claim, empty=True)
    if len(view) and not ever.any():
        return NoRoom(reason=_reason(view, claim, ever_filters), impossible=True, filters=ever_filters)
    return NoRoom(reason=_reason(view, claim, filters), impossible=False, filters=filters)


def _slots(view: PoolView, claim: Claim, empty: bool) -> tuple[Amounts, Filters]:
    """Return how many vGPUs of the claim each device can take, and what devices had to pass.

    Devices of hosts that can't take the whole claim take none. ``empty``: as if nothing were granted
    and everything in order.
    """
    left = np.ones(len(view), dtype=np.bool_)
    filters = []
    for name, passing in _conditions(view, claim, empty):
        left &= passing
        filters.append((name, int(left.sum())))
    compute = view.compute_total if empty else view.compute_free
    memory = view.memory_total if empty else view.memory_free
    slots = np.minimum(compute // claim.compute, memory // claim.memory_mib) * left
    by_host = np.zeros(len(view.hosts), dtype=np.int64)
    np.add.at(by_host, view.host, slots)
    slots *= by_host[view.host] >= claim.count
    filters.append((f"{claim.count} on one host", int((slots > 0).sum())))
    return slots, tuple(filters)


def _conditions(view: PoolView, claim: Claim, empty: bool) -> Iterator[tuple[str, Flags]]:
    """Yield the name of each condition and which devices meet it."""
    if claim.devices:
        yield "named devices", view.named(claim.devices)
    if claim.host is not None:
        yield f"host {claim.host}", view.on(claim.host)
    if claim.required_traits:
        yield "required traits", view.having(claim.required_traits)
    if claim.forbidden_traits:
        yield "forbidden traits", view.lacking(claim.forbidden_traits)
    if not empty:
        yield "enabled and healthy", view.usable
        yield "host up", view.host_up
    yield "compute", (view.compute_total if empty else view.compute_free) >= claim.compute
    yield "memory", (view.memory_total if empty else view.memory_free) >= claim.memory_mib


def _choose(view: PoolView, claim: Claim, slots: Amounts, policy: Policy) -> tuple[str, ...]:
    """Return the devices, where ``slots`` says how many vGPUs each can take."""
    cost = policy.cost(view, claim)
    cheapest = [int(device) for device in np.argsort(cost, kind="stable") if slots[device]]
    by_host: dict[int, list[int]] = {}
    for device in cheapest:
        by_host.setdefault(int(view.host[device]), []).append(device)

    def rank(host: int) -> tuple[int, float, int]:
        """Most different devices first, then the cheapest, then by name."""
        taken = by_host[host][: claim.count]
        return -len(taken), float(cost[taken].sum()), host

    devices = by_host[min(by_host, key=rank)]
    chosen = _spread(devices, slots, claim.count)
    return tuple(view.device_ids[device] for device in chosen)


def _spread(devices: list[int], slots: Amounts, count: int) -> list[int]:
    """Return ``count`` of ``devices``, each again only after every other that has a slot left."""
    chosen: list[int] = []
    taken = 0
    while len(chosen) < count:
        chosen += [device for device in devices if slots[device] > taken]
        taken += 1
    return chosen[:count]


def _reason(view: PoolView, claim: Claim, filters: Filters) -> str:
    """Return one line: what was asked for, and which filter left how many devices, up to none."""
    ended = next((at for at, (_, left) in enumerate(filters) if left == 0), len(filters))
    steps = ", ".join(f"{left} after {name}" for name, left in filters[: ended + 1])
    return (
        f"no room for {claim.count} x {claim.compute} % and {claim.memory_mib} MiB: "
        f"{len(view)} devices in the pool, {steps}"
    )
