"""How a claim is made of an allocation that somebody else wrote, as Nova does for an instance.

The devices are chosen already, and Placement has granted them to a consumer that is not ours: so there
is nothing to queue for. The rows of the vGPUs name that consumer. Whoever wrote the allocation takes it
back; we write nothing of it. A claim that loses a vGPU has nothing to queue for either, and fails.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from oslo_context.context import RequestContext

from gpupool.conductor.capacity.capacity import Capacity
from gpupool.conductor.claims import binding, quota
from gpupool.conductor.claims.lifecycle import Claims
from gpupool.conductor.claims.limits import Limits, OfProject
from gpupool.conductor.providers.inventory import Inventory
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.db import claims, devices, hosts, vgpus
from gpupool.model import errors
from gpupool.model.claim import Claim, ClaimRequest, OnDeviceLost
from gpupool.model.device import Device, SharingMode
from gpupool.model.share import Share
from gpupool.model.states import ClaimState
from gpupool.model.vgpu import Vgpu
from gpupool.placement import names
from gpupool.placement.allocations import Allocations


@dataclass(frozen=True, kw_only=True)
class _Granted:
    """What a consumer holds of our devices: its id, a share of each, all of one host."""

    consumer_id: str
    host_id: str
    pool_id: str
    shares: tuple[Share, ...]


class Adopting:
    """Makes claims of what others hold in Placement."""

    def __init__(
        self,
        transactions: Transactions,
        claims: Claims,
        limits: Limits,
        allocations: Allocations,
        inventory: Inventory,
    ) -> None:
        self._transactions, self._claims, self._limits = transactions, claims, limits
        self._allocations, self._inventory = allocations, inventory

    def adopt(
        self, ctxt: RequestContext, claim_id: str, consumer_id: str, request: ClaimRequest
    ) -> Claim:
        """Return the new claim, binding; with the id of one that is there already, that one.

        ``request`` says how many vGPUs of which size ``consumer_id`` holds, one on each device.

        Raises NotFound when the consumer holds nothing, or is another project's; Invalid when it holds
        something else, or not of one host; Conflict when it is ours or its share is a claim's already;
        and as Claims.create.
        """
        with self._transactions.reader() as session:
            found = claims.list_(session, {"id": claim_id})
        if found:
            return _own(ctxt, found[0])
        _check(request)
        granted = self._granted(ctxt, consumer_id)
        if request.pool is None:
            request = replace(request, pool=granted.pool_id)
        asked = self._claims.checked(ctxt, claim_id, request)
        _compare(asked, granted)
        self._know(granted)
        limits = self._limits.of(asked.project_id)
        return _own(ctxt, self._transactions.commit(_adopt, asked, granted, self._inventory, limits))

    def _granted(self, ctxt: RequestContext, consumer_id: str) -> _Granted:
        """Return what a consumer of the context's project holds of our devices."""
        held = self._allocations.get_allocation(consumer_id)
        # One answer, whether it is nobody or another project's.
        if held is None or held.project_id != ctxt.project_id:
            raise errors.NotFound(f"consumer {consumer_id} holds nothing of this project in Placement")
        if held.consumer_type in names.OWN_TYPES:
            raise errors.Conflict(f"consumer {consumer_id} is a vGPU or a move")
        ours = {
            provider: {name: amounts[name] for name in names.RESOURCE_CLASSES if name in amounts}
            for provider, amounts in held.resources.items()
            if amounts.keys() & set(names.RESOURCE_CLASSES)
        }
        with self._transactions.reader() as session:
            known = {each.id: each.host_id for each in devices.list_(session, {"id": list(ours)})}
            of_hosts = hosts.list_(session, {"id": set(known.values())})
        if not ours or known.keys() != ours.keys() or len(of_hosts) != 1:
            raise errors.Invalid(
                f"consumer {consumer_id} holds {len(ours)} devices, {len(known)} of them known, of "
                f"{len(of_hosts)} hosts; allowed: one or more, all known, of one host"
            )
        shares = (
            Share(each, ours[each].get(names.COMPUTE, 0), ours[each].get(names.MEMORY_MIB, 0))
            for each in sorted(ours)
        )
        return _Granted(
            consumer_id=consumer_id,
            host_id=of_hosts[0].id,
            pool_id=of_hosts[0].pool_id,
            shares=tuple(shares),
        )

    def _know(self, granted: _Granted) -> None:
        """Count what others hold of the devices without the consumer, whose rows will say it."""
        for share in granted.shares:
            held = self._allocations.allocations_of(share.device_id)
            with self._transactions.reader() as session:
                own = {granted.consumer_id, *vgpus.consumers(session, share.device_id)}
            foreign = {consumer: each for consumer, each in held.items() if consumer not in own}
            self._inventory.saw_foreign(share.device_id, foreign)


def _own(ctxt: RequestContext, claim: Claim) -> Claim:
    if claim.project_id != ctxt.project_id:
        raise errors.Conflict(f"claim id {claim.id} is taken")
    return claim


def _check(request: ClaimRequest) -> None:
    """Raise Invalid for what makes no sense where nothing is chosen any more."""
    not_allowed = {
        "min_count": request.min_count is not None,
        "preemptible": bool(request.preemptible),
        "sharing_mode": (request.sharing_mode or SharingMode.SHARED) != SharingMode.SHARED,
        "on_device_lost": request.on_device_lost == OnDeviceLost.REQUEUE,
        "host": request.host is not None,
        "devices": bool(request.devices),
        "profile": request.profile is not None,
    }
    wrong = [name for name, given in not_allowed.items() if given]
    if wrong:
        raise errors.Invalid(f"{', '.join(wrong)} given; not allowed for an allocation that is there")


def _compare(asked: Claim, granted: _Granted) -> None:
    """Raise Invalid unless a consumer holds just what is asked for."""
    if granted.pool_id != asked.pool_id:
        raise errors.Invalid(f"consumer {granted.consumer_id} holds devices of another pool")
    if len(granted.shares) != asked.count:
        raise errors.Invalid(
            f"count is {asked.count}; consumer {granted.consumer_id} holds {len(granted.shares)} devices"
        )
    for share in granted.shares:
        if (share.compute, share.memory_mib) != (asked.compute, asked.memory_mib):
            raise errors.Invalid(
                f"compute is {asked.compute} and memory_mib {asked.memory_mib}; consumer "
                f"{granted.consumer_id} holds {share.compute} % and {share.memory_mib} MiB of device "
                f"{share.device_id}"
            )


def _adopt(
    transaction: Transaction,
    asked: Claim,
    granted: _Granted,
    inventory: Inventory,
    limits: OfProject,
) -> Claim:
    session = transaction.session
    found = claims.list_(session, {"id": asked.id})
    if found:
        return found[0]
    generation = transaction.touch(granted.host_id)
    held = transaction.hold([granted.host_id])
    if vgpus.list_(session, {"consumer_id": granted.consumer_id}):
        raise errors.Conflict(f"consumer {granted.consumer_id} is a claim's already")
    host = held[granted.host_id]
    if not Capacity(transaction, inventory, held).take(asked, granted.shares, host.name):
        raise errors.Conflict(f"host {host.name} or a device of it can't take the claim now")
    quota.check(session, asked, limits)
    bound_to = replace(asked, state=ClaimState.BINDING, program_host_id=host.id)
    made = claims.create(session, bound_to)
    transaction.moved.append(made)
    owned = {each.id: each for each in devices.list_(session, {"host_id": host.id})}
    vgpus.create_all(session, _rows(made, granted, owned, generation))
    transaction.revise_all(held.values())
    return made


def _rows(
    claim: Claim, granted: _Granted, owned: Mapping[str, Device], generation: int
) -> Sequence[Vgpu]:
    return [
        replace(
            binding.planned(claim, index, share, owned[share.device_id]),
            consumer_id=granted.consumer_id,
            generation=generation,
        )
        for index, share in enumerate(granted.shares)
    ]
