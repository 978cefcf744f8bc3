"""Queries that only claims have, and the states of claims, vGPUs and attachments."""

from typing import Any

import pytest
from sqlalchemy.orm import Session as Transaction

from gpupool.db import attachments, claims, pools, vgpus
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.claim import Claim
from gpupool.model.states import ENDED, AttachmentState, ClaimState, VgpuState
from tests.functional.db import make


def many(transaction: Transaction, *fields: dict[str, Any]) -> list[Claim]:
    pool = pools.create(transaction, make.pool())
    return [claims.create(transaction, make.claim(pool, **one)) for one in fields]


def test_every_change_grows_the_generation(database: Database) -> None:
    with database.writer() as session:
        claim = make.stored_claim(session)
        first = claims.update(session, claim.id, name="new")
        second = claims.update(session, claim.id, expected_generation=1, priority=9)
    assert (claim.generation, first.generation, second.generation) == (0, 1, 2)
    assert (second.name, second.priority) == ("new", 9)
    assert claim.updated_at < first.updated_at <= second.updated_at


def test_an_old_generation_changes_nothing(database: Database) -> None:
    with database.writer() as session:
        claim = make.stored_claim(session)
        new = claims.update(session, claim.id, name="new")
        with pytest.raises(errors.Conflict, match=r"changed by somebody else: generation 1, expected 0"):
            claims.update(session, claim.id, expected_generation=0, name="lost")
        assert claims.get(session, claim.id) == new
        with pytest.raises(errors.NotFound, match="claim nothing not found"):
            claims.update(session, "nothing", expected_generation=0, name="lost")


def test_transition(database: Database) -> None:
    with database.writer() as session:
        claim = make.stored_claim(session)
        after = claims.transition(session, claim, ClaimState.ALLOCATING, state_reason="planned")
        assert (after.state, after.state_reason, after.generation) == ("allocating", "planned", 1)
        with pytest.raises(errors.Conflict, match="changed by somebody else"):
            claims.transition(session, claim, ClaimState.ALLOCATING)
        with pytest.raises(errors.Conflict, match="allocating cannot become bound"):
            claims.transition(session, after, ClaimState.BOUND)
        assert claims.get(session, claim.id) == after


def test_transitions_of_vgpus_and_attachments(database: Database) -> None:
    with database.writer() as session:
        claim, (_, host, device) = make.stored_claim(session), make.place(session)
        vgpu = vgpus.create(session, make.vgpu(claim, device))
        active = vgpus.transition(session, vgpu, VgpuState.ACTIVE, generation=2)
        assert (active.state, active.generation) == ("active", 2)
        gone = vgpus.transition(session, active, VgpuState.REMOVING)
        with pytest.raises(errors.Conflict, match="removing cannot become active"):
            vgpus.transition(session, gone, VgpuState.ACTIVE)
        pending = attachments.create(session, make.attachment(claim, host))
        ready = attachments.transition(
            session, pending, AttachmentState.READY, environment={"A": "b"}, cdi_device="c=d"
        )
        assert (ready.state, ready.environment, ready.cdi_device) == ("ready", {"A": "b"}, "c=d")
        removing = attachments.transition(session, ready, AttachmentState.REMOVING)
        with pytest.raises(errors.Conflict, match="removing cannot become ready"):
            attachments.transition(session, removing, AttachmentState.READY)


def test_stale(database: Database) -> None:
    allocating = {"state": ClaimState.ALLOCATING}
    with database.writer() as session:
        second, first, _, _ = many(
            session,
            {**allocating, "updated_at": make.later(-1)},
            {**allocating, "updated_at": make.later(-2)},
            {**allocating, "updated_at": make.NOW},
            {"state": ClaimState.QUEUED, "updated_at": make.later(-1)},
        )
        assert claims.stale(session, ClaimState.ALLOCATING, make.NOW) == [first, second]


def test_overdue(database: Database) -> None:
    with database.writer() as session:
        second, first, *_ = many(
            session,
            {"lease_end": make.NOW},
            {"lease_end": make.later(-1), "state": ClaimState.BOUND},
            {"lease_end": make.later(-1), "state": ClaimState.RELEASING},
            {"lease_end": make.later(-1), "state": ClaimState.RELEASED},
            {"lease_end": make.later(1)},
            {},
        )
        assert claims.overdue(session, make.NOW) == [first, second]


def test_count_by_state(database: Database) -> None:
    with database.writer() as session:
        many(session, {}, {}, {"state": ClaimState.BOUND}, {"project_id": "other", "state": "bound"})
        none = dict.fromkeys(ClaimState, 0)
        assert claims.count_by_state(session) == {**none, "queued": 2, "bound": 2}
        mine = claims.count_by_state(session, project_id="project")
        assert mine == {**none, "queued": 2, "bound": 1}
        assert claims.count_by_state(session, project_id="nobody") == none
        with pytest.raises(errors.Invalid, match=r"filter is 'projekt'; allowed: .*project_id"):
            claims.count_by_state(session, projekt="project")


@pytest.mark.parametrize("state", list(ClaimState))
def test_purge_takes_only_what_ended_long_ago(state: ClaimState, database: Database) -> None:
    with database.writer() as session:
        old, _new, unstamped, held = many(
            session,
            {"state": state, "ended_at": make.later(-1)},
            {"state": state, "ended_at": make.NOW},
            {"state": state, "updated_at": make.later(-1)},
            {"state": state, "ended_at": make.later(-1)},
        )
        vgpus.create(session, make.vgpu(held, make.place(session)[2]))
        expected = {old.id, unstamped.id} if state in ENDED else set()
        before = {claim.id for claim in claims.list_(session)}
        assert claims.purge(session, make.NOW) == len(expected)
        assert before - {claim.id for claim in claims.list_(session)} == expected


def test_a_pool_stays_while_it_is_used(database: Database) -> None:
    with database.writer() as session:
        pool, _, _ = make.place(session)
        claims.create(session, make.claim(pool, state=ClaimState.RELEASED))
        with pytest.raises(errors.Conflict, match="still has 1 hosts and 0 claims"):
            pools.delete(session, pool.id)
        other = pools.create(session, make.pool())
        live = claims.create(session, make.claim(other))
        with pytest.raises(errors.Conflict, match="still has 0 hosts and 1 claims"):
            pools.delete(session, other.id)
        claims.transition(session, live, ClaimState.RELEASED)
        pools.delete(session, other.id)
        assert claims.get(session, live.id).pool_id == other.id
        assert pools.list_(session) == [pool]
