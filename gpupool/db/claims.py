"""Claims in the database. Every change grows the generation, by which writers notice each other."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gpupool.db import models, pools, times
from gpupool.db.table import Table
from gpupool.model import errors, states
from gpupool.model.claim import Claim
from gpupool.model.reason import Reason
from gpupool.model.states import ClaimState

_table = Table(models.Claim, Claim)
get, list_ = _table.get, _table.list_


@dataclass(frozen=True, kw_only=True)
class Program:
    """What programs take of a host: thousandths of a core, MiB."""

    cpu_milli: int = 0
    memory_mib: int = 0


# States in which the end of its lease ends a claim.
EXPIRING = frozenset({ClaimState.QUEUED, ClaimState.BINDING, ClaimState.BOUND, ClaimState.SUSPENDED})
# A change of a claim: the lease it was asked for holds again, not what its time limit left of it.
ASKED_LEASE = {"lease_end": _table.columns["asked_lease_end"]}
# A change of a claim: what hosts refused it counts no more.
UNREFUSED: Mapping[str, Any] = {"attempts": 0, "refused_by": ()}


def create(session: Session, claim: Claim) -> Claim:
    """Insert ``claim`` as Table.create does; raises NotFound when its pool does not exist."""
    pools.hold(session, claim.pool_id)
    return _table.create(session, claim)


def update(
    session: Session, claim_id: str, /, expected_generation: int | None = None, **changes: Any
) -> Claim:
    """Write ``changes``, grow the generation and return the claim.

    Raises NotFound, and Conflict when the claim is not of ``expected_generation`` any more.
    """
    condition = models.Claim.id == claim_id
    if expected_generation is not None:
        condition &= models.Claim.generation == expected_generation
    written = _table.write(session, condition, _next(changes))
    claim = get(session, claim_id)
    if not written:
        raise errors.Conflict(
            f"claim {claim_id} was changed by somebody else: generation {claim.generation}, "
            f"expected {expected_generation}"
        )
    return claim


def transition(session: Session, claim: Claim, state: ClaimState, /, **changes: Any) -> Claim:
    """Bring ``claim``, as the caller knows it, to ``state``; raises as states.check and update."""
    states.check(states.CLAIM, claim.state, state)
    return update(session, claim.id, expected_generation=claim.generation, state=state, **changes)


def hold(session: Session, claim_ids: Iterable[str]) -> list[Claim]:
    """Return those of the claims that exist, by id; nobody changes them until the transaction ends."""
    query = _table.query.where(models.Claim.id.in_(sorted(claim_ids)))
    return _table.items(session, query.order_by(models.Claim.id).with_for_update())


def transition_all(
    session: Session, held: Sequence[Claim], state: ClaimState, /, **changes: Any
) -> list[Claim]:
    """Bring claims that the caller holds to ``state``, all with the same ``changes``.

    Raises as states.check, before anything is written.
    """
    return _transition(session, held, state, changes, {})


def start_all(session: Session, held: Sequence[Claim], /, **changes: Any) -> list[Claim]:
    """Bring claims that the caller holds to ``allocating``, and write which host each names.

    Otherwise as transition_all.
    """
    programs_ = {claim.id: claim.program_host_id for claim in held}
    own = {"program_host_id": sa.case(programs_, value=models.Claim.id)} if held else {}
    return _transition(session, held, ClaimState.ALLOCATING, changes, own)


def _transition(
    session: Session,
    held: Sequence[Claim],
    state: ClaimState,
    changes: Mapping[str, Any],
    own: Mapping[str, Any],
) -> list[Claim]:
    """Do as transition_all; ``own`` are expressions of what each of the claims says of itself."""
    if not held:
        return []
    for claim in held:
        states.check(states.CLAIM, claim.state, state)
    ids = [claim.id for claim in held]
    now = times.now(session)
    written = {**changes, "state": state, "updated_at": now}
    _table.write(session, models.Claim.id.in_(ids), _next({**written, **own}))
    if any(isinstance(value, sa.ColumnElement) for value in changes.values()):
        return list_(session, {"id": ids})
    known = {key: value for key, value in written.items() if key in Claim.__dataclass_fields__}
    return [replace(claim, **known, generation=claim.generation + 1) for claim in held]


def _next(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes that also grow the generation."""
    return {**changes, "generation": models.Claim.generation + 1}


def note_queued(session: Session, claim_ids: Collection[str], reason: Reason) -> None:
    """Write why claims wait, of those that do."""
    chosen = models.Claim.id.in_(sorted(claim_ids)) & (models.Claim.state == ClaimState.QUEUED)
    _table.write(session, chosen, _next(reason.fields()))


def note_changed(session: Session, claim_ids: Collection[str], state: ClaimState) -> None:
    """Grow the generation of claims in a state: something that belongs to them has changed."""
    chosen = models.Claim.id.in_(sorted(claim_ids)) & (models.Claim.state == state)
    _table.write(session, chosen, _next({}))


def generations(session: Session, pool_id: str, states_: Iterable[ClaimState]) -> dict[str, int]:
    """Return by id the generations of a pool's claims in some states."""
    # Columns of the table, not of the mapped class, whose rows take twice the time: there are thousands.
    row = _table.columns
    query = sa.select(row["id"], row["generation"])
    query = query.where(row["pool_id"] == pool_id, row["state"].in_(list(states_)))
    return dict(session.execute(query).tuples().all())


def terms_in(
    session: Session, claim_ids: Collection[str], states_: Collection[ClaimState]
) -> dict[str, tuple[str, int]]:
    """Return project and sessions of each vGPU of claims, by id, of those in some states."""
    if not claim_ids:
        return {}
    columns = (models.Claim.id, models.Claim.project_id, models.Claim.sessions)
    query = sa.select(*columns).where(models.Claim.id.in_(list(claim_ids)))
    query = query.where(models.Claim.state.in_(list(states_)))
    rows = session.execute(query).tuples()
    return {claim_id: (project_id, sessions) for claim_id, project_id, sessions in rows}


def generations_of(session: Session, claim_ids: Collection[str]) -> dict[str, int]:
    """Return the generations of claims, by id."""
    query = sa.select(models.Claim.id, models.Claim.generation)
    return dict(session.execute(query.where(models.Claim.id.in_(list(claim_ids)))).tuples().all())


def next_index(session: Session, claim_id: str) -> int:
    """Return from where on a claim, which is held, looks for an index for one more vGPU."""
    query = sa.select(models.Claim.next_index).where(models.Claim.id == claim_id)
    return session.execute(query).scalar_one()


def programs(session: Session, host_ids: Collection[str]) -> dict[str, Program]:
    """Return what the programs of claims take of hosts, by host; one that has none is left out."""
    row = models.Claim
    sums = sa.func.sum(row.cpu_milli), sa.func.sum(row.host_memory_mib)
    there = row.program_host_id.in_(list(host_ids))
    query = sa.select(row.program_host_id, *sums).where(there).group_by(row.program_host_id)
    return {
        host_id: Program(cpu_milli=int(cpu), memory_mib=int(memory))
        for host_id, cpu, memory in session.execute(query).tuples()
        if host_id is not None
    }


def allocating(session: Session) -> dict[str, str | None]:
    """Return the conductors that bind claims now, by the claims' ids; None: one of an older release."""
    row = _table.columns
    query = sa.select(row["id"], row["conductor_id"]).where(row["state"] == ClaimState.ALLOCATING)
    return dict(session.execute(query).tuples().all())


def stale(session: Session, state: ClaimState, older_than: datetime) -> list[Claim]:
    """Return the claims in ``state`` that nothing has changed since ``older_than``, oldest first."""
    changed = models.Claim.updated_at
    query = _table.query.where(models.Claim.state == state, changed < older_than)
    return _table.items(session, query.order_by(changed, models.Claim.id))


def overdue(session: Session, now: datetime) -> list[Claim]:
    """Return the claims whose lease ended by ``now`` and that may expire, oldest lease end first.

    What a time limit ends is not among them: see ``bound``.
    """
    row = models.Claim
    limited = row.time_limit.is_not(None) & row.bound_at.is_not(None)
    ended = (~limited & (row.lease_end <= now)) | (limited & (row.asked_lease_end <= now))
    query = _table.query.where(ended, row.state.in_(EXPIRING))
    return _table.items(session, query.order_by(row.lease_end, row.id))


def bound(session: Session) -> dict[str, tuple[datetime, int | None]]:
    """Return when each claim that is bound, or on its way from there, was bound, by id.

    Beside it is the time limit in seconds of those that are still to be ended by it.
    """
    row = _table.columns
    query = sa.select(row["id"], row["bound_at"], row["time_limit"], row["state"])
    states_ = [ClaimState.BOUND, ClaimState.RELEASING]
    query = query.where(row["state"].in_(states_), row["bound_at"].is_not(None))
    return {
        claim_id: (at, limit if state == ClaimState.BOUND else None)
        for claim_id, at, limit, state in session.execute(query).tuples()
    }


def refused_more(session: Session) -> list[Claim]:
    """Return the bound elastic claims to which their host refused more than they had."""
    query = _table.query.where(models.Claim.state == ClaimState.BOUND, models.Claim.attempts > 0)
    return _table.items(session, query.order_by(models.Claim.id))


def count_by_state(session: Session, **filters: object) -> dict[ClaimState, int]:
    """Return how many claims that meet ``filters`` are in each state, zeros included."""
    query = sa.select(models.Claim.state, sa.func.count()).where(*_table.conditions(filters))
    counted = dict.fromkeys(ClaimState, 0)
    counted.update(session.execute(query.group_by(models.Claim.state)).tuples().all())
    return counted


def purge(session: Session, older_than: datetime) -> int:
    """Delete the claims that ended before ``older_than``; return how many."""
    ended_at = sa.func.coalesce(models.Claim.ended_at, models.Claim.updated_at)
    statement = sa.delete(models.Claim).where(
        models.Claim.state.in_(states.ENDED),
        ended_at < older_than,
        ~sa.exists().where(models.Vgpu.claim_id == models.Claim.id),
        ~sa.exists().where(models.Attachment.claim_id == models.Claim.id),
    )
    return _table.count_of(session.execute(statement, execution_options={"synchronize_session": False}))
