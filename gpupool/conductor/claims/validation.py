"""From a ClaimRequest to a Claim: profile and pool resolved, every value checked.

Everything wrong is an Invalid that names the value and what is allowed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from datetime import datetime

from sqlalchemy.orm import Session

from gpupool.allocator import filters, geometry, shortage
from gpupool.allocator.demand import Demand
from gpupool.allocator.view import PoolView
from gpupool.conductor.capacity.pool_views import Views
from gpupool.db import devices, hosts, pools, profiles
from gpupool.model import errors
from gpupool.model.claim import (
    AMOUNT_MAX,
    COMPUTE_MAX,
    COUNT_MAX,
    PRIORITY_DEFAULT,
    PRIORITY_MAX,
    SHARING_MODES,
    Claim,
    ClaimRequest,
    Tier,
)
from gpupool.model.device import SharingMode
from gpupool.model.pool import DEFAULT_POOL, Pool
from gpupool.model.profile import Profile
from gpupool.model.states import ClaimState
from gpupool.placement.client import PlacementClient


def from_profile(request: ClaimRequest, profile: Profile | None) -> ClaimRequest:
    """Return ``request`` with everything it leaves open taken from ``profile`` or the defaults."""
    given = profile or Profile(
        id="", name="", compute=0, memory_mib=0, tier=Tier.POOL, priority=PRIORITY_DEFAULT
    )
    if request.partition:
        # The part says how much it has.
        least = 1 if profile is None else None
        request = replace(
            request,
            compute=request.compute or least,
            memory_mib=request.memory_mib or least,
        )
    missing = [name for name in ("compute", "memory_mib") if getattr(request, name) is None]
    if profile is None and missing:
        raise errors.Invalid(f"{' and '.join(missing)} missing; give a profile, or each of them")
    names = {field.name for field in fields(Profile)} - {"id", "name", "description"}
    names &= {field.name for field in fields(ClaimRequest)}
    # A number in place of a range, and the other way round.
    if request.count is not None:
        names -= {"min_count", "max_count"}
    filled = replace(
        request, **{name: getattr(given, name) for name in names if getattr(request, name) is None}
    )
    if request.min_count is None and request.max_count is None and filled.min_count is None:
        return filled
    if request.count is not None:
        raise errors.Invalid("count is given beside min_count and max_count; allowed: either")
    count, least, most = elastic_counts(filled.min_count, filled.max_count)
    return replace(filled, count=count, min_count=least, max_count=most)


def elastic_counts(least: int | None, most: int | None) -> tuple[int, int | None, int | None]:
    """Return for how many vGPUs an elastic claim waits, and between how many it may have, or Invalid.

    One that may have only one number of them is not elastic.
    """
    if least is None or most is None:
        missing = "min_count" if least is None else "max_count"
        raise errors.Invalid(f"{missing} missing; min_count and max_count go together")
    _within("min_count", least, 1, COUNT_MAX)
    if not least <= most <= COUNT_MAX:
        raise errors.Invalid(f"max_count is {most}; allowed: {least} (min_count) to {COUNT_MAX}")
    return (least, None, None) if least == most else (least, least, most)


def check_sizes(request: ClaimRequest | Profile, sessions_max: int) -> None:
    """Raise Invalid unless every number is one that a claim may have; ``sessions_max`` is an option."""
    _within("count", request.count, 1, COUNT_MAX)
    _within("compute", request.compute, 1, COMPUTE_MAX)
    _within("memory_mib", request.memory_mib, 1, AMOUNT_MAX)
    _within("cpu_milli", request.cpu_milli, 0, AMOUNT_MAX)
    _within("host_memory_mib", request.host_memory_mib, 0, AMOUNT_MAX)
    if request.sessions is not None and not 1 <= request.sessions <= sessions_max:
        raise errors.Invalid(
            f"sessions is {request.sessions}; allowed: 1 to {sessions_max}, the operator's [conductor] "
            "max_sessions_per_vgpu"
        )
    if request.time_limit is not None:
        _within("time_limit", request.time_limit, 1, AMOUNT_MAX)
    check_priority(request.priority)
    check_partition(request)


def check_partition(request: ClaimRequest | Profile) -> None:
    """Raise Invalid unless mode and kind of part go together."""
    mode = request.sharing_mode or SharingMode.SHARED
    if mode not in SHARING_MODES:
        raise errors.Invalid(f"sharing_mode is '{mode}'; allowed: {', '.join(SHARING_MODES)}")
    if mode == SharingMode.SHARED and request.partition:
        others = ", ".join(SHARING_MODES[1:])
        raise errors.Invalid(
            f"partition is '{request.partition}', and sharing_mode {mode}; allowed with one: {others}"
        )
    if mode != SharingMode.SHARED and not request.partition:
        raise errors.Invalid(f"partition missing; sharing_mode {mode} needs a kind of part")


def with_sizes(claim: Claim, pool: Pool, views: Views) -> Claim:
    """Return a claim of parts with the size of the smallest part that is as large as it asks for.

    That is what its project is charged for. Raises Invalid when no device of the pool has such a part,
    with the kinds that there are.
    """
    with views.lock:
        if not _part_sizes(claim, views.of(pool.id)):
            # Devices may have come since the view was read.
            views.refresh()
        found = _part_sizes(claim, views.of(pool.id))
        known = geometry.kinds(views.of(pool.id), claim.sharing_mode)
    if not found:
        raise errors.Invalid(
            f"no device of pool {pool.name} that is cut by {claim.sharing_mode} has parts "
            f"{claim.partition} of {claim.compute} % and {claim.memory_mib} MiB or more; there are: "
            f"{_list(known) or 'no such devices'}"
        )
    compute, memory_mib = min(found)
    return replace(claim, compute=compute, memory_mib=memory_mib)


def _part_sizes(claim: Claim, view: PoolView) -> list[tuple[int, int]]:
    sizes = geometry.sizes(view, Demand.of(claim))
    return [each for each in sizes if each[0] >= claim.compute and each[1] >= claim.memory_mib]


def check_priority(priority: int | None) -> None:
    """Raise Invalid unless ``priority`` is one that a claim may have."""
    _within("priority", priority, 0, PRIORITY_MAX)


def _within(name: str, value: int | None, low: int, high: int) -> None:
    if value is None or not low <= value <= high:
        raise errors.Invalid(f"{name} is {value}; allowed: {low} to {high}")


def check_lease(lease_end: datetime | None, now: datetime) -> None:
    """Raise Invalid unless ``lease_end`` is None or to come."""
    if lease_end is not None and lease_end <= now:
        raise errors.Invalid(f"lease_end {lease_end} is past; it is {now:%Y-%m-%d %H:%M:%S} UTC")


def check_apart(required: Iterable[str], forbidden: Iterable[str]) -> None:
    """Raise Invalid when a trait is both required and forbidden."""
    if both := {*required} & {*forbidden}:
        raise errors.Invalid(f"traits both required and forbidden: {_list(both)}")


def check_known(placement: PlacementClient, traits: Iterable[str]) -> None:
    """Raise Invalid when a trait is unknown to Placement, which is asked only when there are any."""
    if (named := {*traits}) and (unknown := placement.unknown_traits(named)):
        raise errors.Invalid(f"Placement knows no such traits: {_list(unknown)}")


def find_profile(session: Session, name_or_id: str) -> Profile:
    """Return the profile, or raise Invalid."""
    try:
        return profiles.find(session, name_or_id)
    except errors.NotFound as exc:
        raise errors.Invalid(f"profile {name_or_id} does not exist") from exc


def find_pool(session: Session, name_or_id: str | None) -> Pool:
    """Return the pool, by default the one named ``default``, or raise Invalid with those there are."""
    wanted = name_or_id or DEFAULT_POOL
    try:
        return pools.find(session, wanted)
    except errors.NotFound as exc:
        names = _list(pool.name for pool in pools.list_(session, {})) or "none"
        raise errors.Invalid(f"pool {wanted} does not exist; there are: {names}") from exc


def check_place(session: Session, request: ClaimRequest, pool: Pool) -> str | None:
    """Return the name of the host asked for; raise Invalid unless host and devices are in ``pool``."""
    if request.tier == Tier.DEDICATED and not (request.devices or request.required_traits):
        raise errors.Invalid("tier dedicated needs devices or required_traits")
    _check_devices(session, request.devices, pool)
    if request.host is None:
        return None
    # One answer, whether it is elsewhere or nowhere: members are not told of hosts.
    host = hosts.find_in(session, pool.id, request.host)
    if host is None:
        raise errors.Invalid(f"host {request.host} does not exist in pool {pool.name}")
    return host.name


def _check_devices(session: Session, device_ids: Sequence[str], pool: Pool) -> None:
    if not device_ids:
        return
    found = {device.id: device.host_id for device in devices.list_(session, {"id": device_ids})}
    of_pool = hosts.list_(session, {"id": set(found.values()), "pool_id": pool.id})
    here = {host.id for host in of_pool}
    for device_id in device_ids:
        if found.get(device_id) not in here:
            raise errors.Invalid(f"device {device_id} does not exist in pool {pool.name}")


def check_possible(claim: Claim, pool: Pool, views: Views) -> None:
    """Raise Invalid when no device of ``pool`` could hold the claim even if nothing else were there.

    A pool that has no devices yet says nothing about what it may hold: the claim waits.
    """
    with views.lock:
        if _why_never(claim, pool, views.of(pool.id)):
            # Devices may have come since the view was read.
            views.refresh()
        if why := _why_never(claim, pool, views.of(pool.id)):
            raise errors.Invalid(why)


def _why_never(claim: Claim, pool: Pool, view: PoolView) -> str:
    """Return why ``view`` could never hold the claim, or nothing."""
    if not len(view):
        return ""
    largest = int(view.memory.limit.max())
    if claim.memory_mib > largest:
        return f"memory_mib is {claim.memory_mib}; the largest device of pool {pool.name} has {largest}"
    demand = Demand.of(claim)
    if filters.ever(view, demand):
        return ""
    counts = filters.counts(view, demand, empty=True)
    return f"pool {pool.name} could never hold it: {shortage.sentence(view, demand, counts, empty=True)}"


def claim_of(
    request: ClaimRequest,
    *,
    claim_id: str,
    project_id: str,
    user_id: str,
    request_id: str,
    pool_id: str,
    profile_id: str | None,
    host: str | None,
) -> Claim:
    """Return the queued claim of a request whose every open field was filled in and checked."""
    named = {field.name for field in fields(ClaimRequest)} - {"pool", "profile", "host"}
    return Claim(
        **{name: getattr(request, name) for name in named},
        id=claim_id,
        project_id=project_id,
        user_id=user_id,
        request_id=request_id,
        pool_id=pool_id,
        profile_id=profile_id,
        host=host,
        state=ClaimState.QUEUED,
    )


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
