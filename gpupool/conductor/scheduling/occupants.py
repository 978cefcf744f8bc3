"""Claims of the database as the allocator's queue sees them: those that wait, and those with a place."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from oslo_config import cfg

from gpupool.allocator import elastic
from gpupool.allocator.claims import Running, Waiting
from gpupool.allocator.demand import Demand
from gpupool.allocator.plan import Plan
from gpupool.conductor.scheduling import consumption
from gpupool.conductor.tenure import Tenure
from gpupool.model.claim import COUNT_MAX, Claim
from gpupool.model.clock import Clock
from gpupool.model.states import ClaimState, VgpuState
from gpupool.model.vgpu import Vgpu


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a claim holds: its vGPUs, those beside them too, and the names of hosts, by id.

    Of an elastic one also which vGPUs sessions use, since when each is there by the monotonic clock, and
    whether it may grow now.
    """

    vgpus: Sequence[Vgpu]
    hosts: Mapping[str, str]
    used: Collection[str] = ()
    since: Mapping[str, float]
    may_grow: bool = True


def waiting(claim: Claim) -> Waiting:
    """Return a queued claim."""
    return Waiting(
        claim_id=claim.id,
        project_id=claim.project_id,
        demand=Demand.of(claim),
        priority=claim.priority,
        created_at=consumption.seconds(claim.created_at or datetime.min),
        time_limit=None if claim.time_limit is None else float(claim.time_limit),
        refused_by=frozenset(claim.refused_by),
        preemptible=claim.preemptible,
        max_count=claim.max_count,
    )


class Occupants:
    """Shows the scheduler what holds something, by the clock of one conductor."""

    def __init__(self, conf: cfg.ConfigOpts, clock: Clock, tenure: Tenure) -> None:
        self._conf, self._clock, self._tenure = conf, clock, tenure

    def running(self, claim: Claim, held: Held) -> tuple[Running, list[Running]]:
        """Return a claim that holds something; of an elastic one its minimum, and each vGPU more."""
        is_bound = claim.state == ClaimState.BOUND
        rows = [each for each in held.vgpus if each.counted or not is_bound]
        rows.sort(key=lambda one: one.index)
        host = held.hosts.get(claim.program_host_id or "")
        if claim.min_count is None or not is_bound:
            return self._running(claim, _plan(rows, host)), []
        # What sessions use goes last; else the highest ordinals first, so that the rest keep theirs.
        rows.sort(key=lambda one: (one.id not in held.used, one.index))
        least = self._running(claim, _plan(rows[: claim.min_count], host))
        others = [each for each in held.vgpus if not each.counted]
        grows = any(each.state == VgpuState.PLANNED for each in others)
        refused = claim.attempts >= self._conf.conductor.binding_attempts
        least = replace(
            least,
            demand=replace(least.demand, count=claim.min_count),
            max_count=claim.max_count if held.may_grow and not (grows or refused) else None,
        )
        leaving = [each for each in others if each.state == VgpuState.REMOVING]
        more = [_beyond(least, each, held) for each in rows[claim.min_count :]]
        return least, more + [replace(_beyond(least, each, held), leaving=True) for each in leaving]

    def _running(self, claim: Claim, plan: Plan) -> Running:
        bound_at = self._clock.monotonic()
        if claim.bound_at is not None:
            bound_at -= self._tenure.seconds(claim.id, claim.bound_at)
        ends = [self._clock.at(claim.lease_end)] if claim.lease_end else []
        ends += [bound_at + claim.time_limit] if claim.time_limit is not None else []
        return Running(
            claim_id=claim.id,
            project_id=claim.project_id,
            demand=Demand.of(claim),
            plan=plan,
            priority=claim.priority,
            bound_at=bound_at,
            ends_at=min(ends, default=None),
            preemptible=claim.preemptible and claim.state == ClaimState.BOUND,
            leaving=claim.state == ClaimState.RELEASING,
        )


def vgpu_of(name: str) -> tuple[str, str | None]:
    """Return the claim that something in the queue is called after, and its vGPU if it is only one."""
    claim_id, *rest = name.split("/")
    return claim_id, rest[-1] if rest else None


def _beyond(least: Running, vgpu: Vgpu, held: Held) -> Running:
    # Next to nothing, but the more the lower its ordinal is.
    idle = (COUNT_MAX - vgpu.index) / COUNT_MAX / 1000
    return elastic.beyond(
        least,
        f"{least.claim_id}/{vgpu.id}",
        _plan([vgpu], held.hosts[vgpu.host_id]),
        held.since[vgpu.id],
        None if vgpu.id in held.used else idle,
    )


def _plan(rows: Sequence[Vgpu], host: str | None) -> Plan:
    """Return where the vGPUs of a claim are, and its program."""
    return Plan(host=host, shares=tuple(vgpu.share for vgpu in rows))
