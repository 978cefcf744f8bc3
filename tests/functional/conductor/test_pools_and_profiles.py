"""Pools and profiles."""

import uuid
from dataclasses import replace

import pytest

from gpupool.conductor.hosts import pools as conductor_pools
from gpupool.db import pools, profiles
from gpupool.model import errors
from gpupool.model.claim import Layout, Tier
from gpupool.model.pool import DEFAULT_POOL, PolicyName, Pool, PoolChange
from gpupool.model.profile import Profile


def new_pool(name="one"):
    return Pool(id=str(uuid.uuid4()), name=name)


def new_profile(**values):
    given = {"name": "small", "compute": 10, "memory_mib": 64, "tier": Tier.POOL, "priority": 50}
    return Profile(id=str(uuid.uuid4()), **{**given, **values})


def test_a_pool_is_made_once_changed_and_deleted(lab):
    wanted = new_pool()
    pool = lab.client.create_pool(lab.ctxt, wanted)
    assert lab.client.create_pool(lab.ctxt, wanted) == pool
    with pytest.raises(errors.Conflict, match="name one exists already"):
        lab.client.create_pool(lab.ctxt, new_pool())
    with pytest.raises(errors.Invalid, match="name is empty"):
        lab.client.create_pool(lab.ctxt, new_pool(" "))
    changed = lab.client.update_pool(lab.ctxt, pool.id, PoolChange(name="two"))
    assert (changed.name, changed.description) == ("two", "")
    changed = lab.client.update_pool(lab.ctxt, pool.id, PoolChange(description="second floor"))
    assert (changed.name, changed.description) == ("two", "second floor")
    with pytest.raises(errors.Invalid, match="name is empty"):
        lab.client.update_pool(lab.ctxt, pool.id, PoolChange(name=""))
    lab.client.delete_pool(lab.ctxt, pool.id)
    with pytest.raises(errors.NotFound):
        lab.client.delete_pool(lab.ctxt, pool.id)


def test_the_default_pool_stays_what_it_is(lab):
    with lab.database.reader() as session:
        pool = pools.get_by_name(session, DEFAULT_POOL)
    with pytest.raises(errors.Conflict, match="pool default keeps its name"):
        lab.client.update_pool(lab.ctxt, pool.id, PoolChange(name="other"))
    with pytest.raises(errors.Conflict, match="pool default is not deleted"):
        lab.client.delete_pool(lab.ctxt, pool.id)


def test_a_pool_is_told_how_to_decide_and_what_to_grant(lab):
    pool = lab.client.create_pool(lab.ctxt, new_pool())
    assert (pool.policy, pool.compute_overcommit, pool.moves_per_hour) == (PolicyName.FGD, 100, 0)
    change = PoolChange(policy=PolicyName.PACK, compute_overcommit=150, moves_per_hour=12)
    changed = lab.client.update_pool(lab.ctxt, pool.id, change)
    assert (changed.policy, changed.compute_overcommit) == (PolicyName.PACK, 150)
    assert (changed.memory_overcommit, changed.moves_per_hour) == (100, 12)


def test_hosts_have_other_room_when_their_pool_grants_more(lab):
    agent = lab.agent()
    before = lab.host(agent)
    lab.client.update_pool(lab.ctxt, before.pool_id, PoolChange(policy=PolicyName.SPREAD))
    assert lab.host(agent).revision == before.revision
    lab.client.update_pool(lab.ctxt, before.pool_id, PoolChange(compute_overcommit=120))
    assert lab.host(agent).revision > before.revision
    assert lab.made.outbox.take()[0] == {before.id}


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("compute_overcommit", 99, "100 to 1000000"),
        ("memory_overcommit", 0, "100 to 1000000"),
        ("moves_per_hour", -1, "0 to 1000000"),
        ("min_run_time", -1, "0 to 2147483647"),
    ],
)
def test_a_pool_takes_no_number_that_means_nothing(lab, name, value, allowed):
    pool = lab.client.create_pool(lab.ctxt, new_pool())
    with pytest.raises(errors.Invalid, match=f"{name} is {value}; allowed: {allowed}"):
        lab.client.update_pool(lab.ctxt, pool.id, PoolChange(**{name: value}))
    with pytest.raises(errors.Invalid, match=f"{name} is {value}; allowed: {allowed}"):
        lab.client.create_pool(lab.ctxt, replace(new_pool("other"), **{name: value}))


def test_a_pool_in_use_stays(lab):
    agent = lab.agent()
    pool = lab.client.create_pool(lab.ctxt, new_pool())
    lab.client.set_host_pool(lab.ctxt, lab.host(agent).id, pool.id)
    with pytest.raises(errors.Conflict, match="still has 1 hosts"):
        lab.client.delete_pool(lab.ctxt, pool.id)


def test_the_default_pool_is_one_for_all_conductors(lab):
    again = lab.made.transactions.commit(conductor_pools.create_default)
    with lab.database.reader() as session:
        assert pools.list_(session) == [again]


def test_a_profile_is_made_once_and_deleted(lab):
    wanted = new_profile()
    profile = lab.client.create_profile(lab.ctxt, wanted)
    assert lab.client.create_profile(lab.ctxt, wanted) == profile
    with pytest.raises(errors.Conflict, match="name small exists already"):
        lab.client.create_profile(lab.ctxt, new_profile())
    claim = lab.create(profile="small")
    lab.client.delete_profile(lab.ctxt, profile.id)
    assert lab.claim(claim).profile_id == profile.id
    with pytest.raises(errors.NotFound):
        lab.client.delete_profile(lab.ctxt, profile.id)


def test_a_profile_changes_and_claims_made_from_it_do_not(lab):
    profile = lab.client.create_profile(lab.ctxt, new_profile(time_limit=60, sessions=4))
    before = lab.create(profile="small", compute=None)
    changed = lab.client.update_profile(
        lab.ctxt, profile.id, {"compute": 7, "tier": "local", "time_limit": None, "layout": "spread"}
    )
    assert changed == replace(
        profile,
        compute=7,
        tier=Tier.LOCAL,
        time_limit=None,
        layout=Layout.SPREAD,
        updated_at=changed.updated_at,
    )
    kept = lab.claim(before)
    assert (kept.compute, kept.time_limit, kept.layout) == (profile.compute, 60, Layout.ANY)
    after = lab.create(profile="small", compute=None)
    assert (after.compute, after.time_limit, after.layout) == (7, None, Layout.SPREAD)
    other = lab.client.create_profile(lab.ctxt, new_profile(name="other"))
    with pytest.raises(errors.Conflict, match="name small exists already"):
        lab.client.update_profile(lab.ctxt, other.id, {"name": "small"})
    # Nothing but the fields of people, whatever the message says.
    same = lab.client.update_profile(lab.ctxt, other.id, {"id": profile.id, "created_at": None})
    assert same.id == other.id
    with pytest.raises(errors.NotFound):
        lab.client.update_profile(lab.ctxt, str(uuid.uuid4()), {"compute": 7})


@pytest.mark.parametrize(
    "changes",
    [
        {"compute": 0},
        {"compute": None},
        {"count": 1025},
        {"name": " "},
        {"sessions": 10_000},
        {"forbidden_traits": ["CUSTOM_NO_SUCH"]},
        {"tier": "golden"},
    ],
)
def test_a_change_after_which_no_claim_could_use_a_profile_is_refused(lab, changes):
    profile = lab.client.create_profile(lab.ctxt, new_profile())
    with pytest.raises(errors.Invalid):
        lab.client.update_profile(lab.ctxt, profile.id, changes)
    with lab.database.reader() as session:
        assert profiles.get(session, profile.id) == profile


@pytest.fixture
def meanwhile(lab, monkeypatch):
    """Return a function: the change that it is given is made once while Placement is next asked."""
    real = lab.made.placement.unknown_traits

    def arrange(profile, changes):
        def unknown_traits(names):
            monkeypatch.undo()
            lab.client.update_profile(lab.ctxt, profile.id, changes)
            return real(names)

        monkeypatch.setattr(lab.made.placement, "unknown_traits", unknown_traits)

    return arrange


RANGE = {"min_count": 1, "max_count": 8}
TRAIT = "HW_GPU_API_VULKAN"


@pytest.mark.parametrize(
    ("values", "first", "second", "said"),
    [
        ({}, {"forbidden_traits": [TRAIT]}, {}, "both required and forbidden: HW_GPU_API_VULKAN"),
        (RANGE, {"max_count": 2}, {"min_count": 4}, r"max_count is 2; allowed: 4 \(min_count\)"),
        (RANGE, {"count": 3}, {"min_count": 4}, "max_count missing; min_count and max_count go"),
    ],
)
def test_two_changes_at_once_are_checked_together(lab, meanwhile, values, first, second, said):
    profile = lab.client.create_profile(lab.ctxt, new_profile(**values))
    meanwhile(profile, first)
    with pytest.raises(errors.Invalid, match=said):
        lab.client.update_profile(lab.ctxt, profile.id, {"required_traits": [TRAIT], **second})
    with lab.database.reader() as session:
        after = profiles.get(session, profile.id)
    assert {name: getattr(after, name) for name in first} == {
        name: tuple(value) if isinstance(value, list) else value for name, value in first.items()
    }
    assert after.required_traits == ()


def test_two_changes_at_once_that_go_together_are_both_made(lab, meanwhile):
    profile = lab.client.create_profile(lab.ctxt, new_profile(**RANGE))
    meanwhile(profile, {"max_count": 6})
    after = lab.client.update_profile(lab.ctxt, profile.id, {"required_traits": [TRAIT], "min_count": 2})
    assert (after.count, after.min_count, after.max_count) == (2, 2, 6)
    assert after.required_traits == (TRAIT,)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": ""}, "name is empty"),
        ({"compute": 0}, "compute is 0"),
        ({"memory_mib": 0}, "memory_mib is 0"),
        ({"count": 0}, "count is 0"),
        ({"priority": 101}, "priority is 101"),
        ({"required_traits": ("CUSTOM_NO_SUCH",)}, "no such traits: CUSTOM_NO_SUCH"),
    ],
)
def test_a_profile_that_no_claim_could_use_is_refused(lab, values, said):
    with pytest.raises(errors.Invalid, match=said):
        lab.client.create_profile(lab.ctxt, new_profile(**values))
    with lab.database.reader() as session:
        assert not profiles.list_(session)
