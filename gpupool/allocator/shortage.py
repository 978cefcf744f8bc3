"""Shortage: why a demand finds no room, for people: what it wants and what there is.

The sentences are read by the claim's project. They name no host but the one that the claim itself
names, and count only devices that it could have, so that they change no more often than its prospects.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from gpupool.allocator import filters, grouping
from gpupool.allocator.arrays import across
from gpupool.allocator.demand import Demand
from gpupool.allocator.filters import Counts
from gpupool.allocator.view import Amounts, Flags, PoolView
from gpupool.model.claim import COMPUTE_MAX

_CORE = 1000
AGAIN = "there seems to be room, which is looked for again"


def sentence(view: PoolView, demand: Demand, counts: Counts, empty: bool) -> str:
    """Return what ``demand`` wants and what there is of it in ``view``, without a full stop.

    ``counts`` are those of ``filters.counts``; ``empty`` as there: then the sentence is about the pool
    without any claims.
    """
    if demand.count and not len(view):
        return "the pool has no devices"
    ended = next((name for name, left in counts if left == 0), None)
    if ended is None:
        return AGAIN
    short = _Shortage(view, demand, empty)
    return short.of(ended, is_last=ended == counts[-1][0])


def closed(view: PoolView) -> str:
    """Return, for operators, why hosts take no new vGPUs: the first of each kind, and how many more."""
    down = [host for host in view.closed if not view.up[host]]
    unable = [host for host in view.closed if view.up[host]]
    said = (_first(view, down, "is down"), _first(view, unable, "takes no new vGPUs"))
    return "; ".join(each for each in said if each)


def _first(view: PoolView, hosts: Sequence[int], what: str) -> str:
    if not hosts:
        return ""
    host = min(hosts)
    more = f", and {len(hosts) - 1} more" if len(hosts) > 1 else ""
    return f"host {view.hosts[host]} {what}: {view.closed[host]}{more}"


class _Shortage:
    """What one demand finds in one view; ``of`` says what is wanting at the filter that left nothing."""

    def __init__(self, view: PoolView, demand: Demand, empty: bool) -> None:
        self._view, self._demand, self._empty = view, demand, empty
        self._free = "" if empty else " free"

    def of(self, ended: str, is_last: bool) -> str:
        """Return the sentence about the filter named ``ended``, which left nothing."""
        if ended in {filters.USABLE, filters.UP, filters.OPEN}:
            return self._out_of_service()
        said = {
            filters.COMPUTE: self._compute,
            filters.MEMORY: self._memory,
            filters.PROGRAM: self._program,
        }.get(ended, self._together if is_last else None)
        if said is None:
            return self._of_kind(ended)
        return said() + self._not_counted()

    def _of_kind(self, ended: str) -> str:
        """Return that no device is as the claim wants it, whatever is granted."""
        demand = self._demand
        forbidden = _list(demand.forbidden_traits)
        named = {
            filters.KEPT: "what is free is kept for claims before it",
            filters.NAMED: "it asks for devices by name that the pool does not have",
            f"host {demand.host}": f"none of the devices that it could have is on host {demand.host}",
            filters.FORBIDDEN: f"all devices that would do have forbidden traits: {forbidden}",
            filters.PRODUCT: f"no device is of a product that it asks for: {_list(demand.products)}",
        }
        if ended == filters.REQUIRED:
            return self._required()
        return named.get(ended, f"no device has {ended}")

    def _required(self) -> str:
        wanted = self._demand.required_traits
        missing = [trait for trait in wanted if not self._has(trait)]
        if len(missing) == 1:
            return f"no device has trait {missing[0]}"
        return f"no device has {'any' if missing else 'all'} of the traits {_list(missing or wanted)}"

    def _has(self, trait: str) -> bool:
        # Of the classes of the view some may be of devices that have changed since.
        classes = self._view.classes
        return bool(self._view.of_classes([trait in kind.traits for kind in classes]).any())

    def _devices(self) -> Flags:
        """Return the devices that it may have, whatever is granted of them."""
        view, demand = self._view, self._demand
        return filters.of_kind(view, demand) if self._empty else filters.suited(view, demand)

    def _most(self, amounts: Amounts, among: Flags) -> int:
        return int(amounts[among].max(initial=0))

    def _compute(self) -> str:
        compute, _ = filters.amounts(self._view, self._demand, self._empty)
        most = self._most(compute, self._devices())
        if self._demand.compute == COMPUTE_MAX:
            return f"a whole device wanted; the one with most free has {most} %"
        return f"{self._demand.compute} % of one device wanted; the largest free share has {most} %"

    def _memory(self) -> str:
        demand = self._demand
        compute, memory = filters.amounts(self._view, demand, self._empty)
        most = self._most(memory, self._devices())
        largest = "largest device" if self._empty else "largest free share"
        if most < demand.memory_mib:
            return f"{demand.memory_mib} MiB of one device wanted; the {largest} has {most} MiB"
        beside = self._most(memory, self._devices() & (compute >= demand.compute))
        return (
            f"{demand.compute} % and {demand.memory_mib} MiB of one device wanted; "
            f"those with {demand.compute} % free have at most {beside} MiB free"
        )

    def _program(self) -> str:
        """Return what its program wants of a host beside the devices."""
        view, demand = self._view, self._demand
        there = view.open if not self._empty else view.up | ~view.up
        cpu = view.cpu_total if self._empty else view.cpu_free
        memory = view.host_memory_total if self._empty else view.host_memory_free
        most_cpu, most_memory = (int(each[there].max(initial=0)) for each in (cpu, memory))
        if demand.cpu_milli > most_cpu:
            wanted, most = _cores(demand.cpu_milli), _cores(most_cpu)
            return f"{wanted} of one host wanted; the host with most has {most}{self._free}"
        if demand.host_memory_mib > most_memory:
            wanted, most = f"{demand.host_memory_mib} MiB", f"{most_memory} MiB"
            return f"{wanted} of one host's memory wanted; the host with most has {most}{self._free}"
        devices = " beside its devices" if demand.count else ""
        return f"{self._program_wants()} of one host wanted{devices}; no host has them together"

    def _program_wants(self) -> str:
        demand = self._demand
        wanted = [_cores(demand.cpu_milli)] if demand.cpu_milli else []
        wanted += [f"{demand.host_memory_mib} MiB of memory"] if demand.host_memory_mib else []
        return " and ".join(wanted)

    def _together(self) -> str:
        """Return how many of its vGPUs the host (or pool) that has room for most of them could take."""
        view, demand = self._view, self._demand
        spread = filters.may_spread(view, demand)
        found = filters.slots(view, demand, empty=self._empty)
        hosts = filters.programs(view, demand, empty=self._empty)
        most = alone = 0
        if spread:
            most = int(grouping.totals(view, demand, found).max(initial=0))
        else:
            of_hosts = [across(group) for group in grouping.on_hosts(view, demand, found)]
            most = max((int((each * hosts).max(initial=0)) for each in of_hosts), default=0)
            alone = max((int(each.max(initial=0)) for each in of_hosts), default=0)
        wanted = f"{demand.count} {self._shares()}{self._where(spread)} wanted"
        if not spread and alone >= demand.count:
            return f"{wanted}, beside {self._program_wants()}; no host has both{self._free}"
        largest = self._largest(spread)
        has = f"has {most}{self._free}" if self._is_whole() else f"has room for {most}"
        return f"{wanted}; {largest} {has}"

    def _is_whole(self) -> bool:
        return self._demand.compute == COMPUTE_MAX

    def _shares(self) -> str:
        demand = self._demand
        if self._is_whole():
            return "devices"
        if demand.partition:
            return f"parts {demand.partition}"
        return f"shares of {demand.compute} % and {demand.memory_mib} MiB"

    def _where(self, spread: bool) -> str:
        where = "" if spread else " on one host"
        linked = ", connected by a fast link," if self._demand.linked else ""
        return f"{where}{linked}{' of one type' if self._demand.same_type else ''}"

    def _largest(self, spread: bool) -> str:
        if self._demand.linked:
            return "the largest such group"
        if spread:
            return "the pool"
        return "the largest host"

    def _counts_out(self) -> tuple[int, int, int]:
        """Return how many devices it could have that are unusable, on hosts that are down, or closed."""
        view = self._view
        wanted = filters.of_kind(view, self._demand)
        up, open_ = view.up[:, None], view.open[:, None]
        unusable, down = wanted & ~view.usable, wanted & view.usable & ~up
        unable = wanted & view.usable & up & ~open_
        return _number(unusable), _number(down), _number(unable)

    def _out_of_service(self) -> str:
        if not self._demand.count:
            return "no host is in service"
        unusable, down, unable = self._counts_out()
        parts = {
            "disabled or failed": unusable,
            "on hosts that are down": down,
            "on hosts that take nothing new for now": unable,
        }
        said = ", ".join(f"{number} {what}" for what, number in parts.items() if number)
        return f"none of the {unusable + down + unable} devices that it could have is in service: {said}"

    def _not_counted(self) -> str:
        """Return how many devices would count, too, were they in service."""
        if self._empty or not self._demand.count:
            return ""
        number = sum(self._counts_out())
        return f" ({number} more {'is' if number == 1 else 'are'} out of service)" if number else ""


def _number(devices: Flags) -> int:
    return int(np.count_nonzero(devices))


def _cores(milli: int) -> str:
    cores = milli / _CORE
    return f"{cores:g} core{'' if cores == 1 else 's'}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
