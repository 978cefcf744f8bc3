"""What every noun has: get, find, list, create, update, delete, on real rows of each."""

import dataclasses
import uuid
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy.orm import Session as Transaction

from gpupool.db import attachments, claims, devices, hosts, pools, profiles, sessions, vgpus
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.share import Part
from gpupool.model.states import ClaimState
from tests.functional.db import make

ITEMS: dict[ModuleType, Callable[[Transaction], Any]] = {
    pools: lambda _: make.pool(description="racks 1 to 4"),
    profiles: lambda _: make.profile(description="a quarter"),
    hosts: lambda s: make.host(pools.create(s, make.pool()), last_seen_at=make.NOW),
    devices: lambda s: make.device(make.place(s)[1], enabled=False, disabled_reason="fan"),
    claims: lambda s: make.claim(
        pools.create(s, make.pool()),
        required_traits=("CUSTOM_A",),
        forbidden_traits=("CUSTOM_B", "CUSTOM_C"),
        devices=(str(uuid.uuid4()),),
        lease_end=make.NOW,
        release_to=ClaimState.FAILED,
        profile_id=str(uuid.uuid4()),
        host="host",
        bound_at=make.NOW,
        ended_at=make.later(1),
    ),
    vgpus: lambda s: make.vgpu(
        make.stored_claim(s), make.place(s)[2], busy_ns=2**40, part=Part("3g.20gb", 4)
    ),
    attachments: lambda s: make.attachment(make.stored_claim(s), make.place(s)[1], cdi_device="a=b"),
    sessions: lambda s: make.session(make.place(s)[1], memory_used_mib=7),
}
NOUNS = pytest.mark.parametrize("noun", ITEMS, ids=lambda noun: noun.__name__.rpartition(".")[2])
CREATED = [noun for noun in ITEMS if noun is not sessions]
CHANGED = pytest.mark.parametrize("noun", CREATED, ids=lambda noun: noun.__name__.rpartition(".")[2])
DELETED = pytest.mark.parametrize(
    "noun",
    [noun for noun in ITEMS if hasattr(noun, "delete")],
    ids=lambda noun: noun.__name__.rpartition(".")[2],
)
NAMED = pytest.mark.parametrize("noun", [pools, profiles, hosts], ids=["pools", "profiles", "hosts"])


def stored(noun: ModuleType, transaction: Transaction) -> Any:
    item = ITEMS[noun](transaction)
    if noun is sessions:
        sessions.replace(transaction, item.host_id, [item])
        return sessions.list_(transaction, {"id": item.id})[0]
    return noun.create(transaction, item)


def keys(noun: ModuleType) -> list[str]:
    """Return the filter and sort keys of a noun, as its error names them."""
    with pytest.raises(errors.Invalid) as raised:
        noun.list_(None, {"no such": 1})
    return raised.value.message.partition("allowed: ")[2].split(", ")


@CHANGED
def test_what_is_created_is_found_as_it_was(noun: ModuleType, database: Database) -> None:
    with database.writer() as session:
        item = ITEMS[noun](session)
        created = noun.create(session, item)
    with database.reader() as session:
        found = noun.get(session, item.id)
    assert found == created
    assert found == dataclasses.replace(item, created_at=found.created_at, updated_at=found.created_at)
    assert isinstance(found.created_at, datetime)


@CHANGED
def test_the_same_id_twice_makes_one(noun: ModuleType, database: Database) -> None:
    with database.writer() as session:
        created = stored(noun, session)
    with database.writer() as session:
        again = noun.create(session, dataclasses.replace(created, created_at=None))
        assert again == created
        assert len(noun.list_(session, {"id": created.id})) == 1


@NAMED
def test_a_name_that_is_taken(noun: ModuleType, database: Database) -> None:
    with database.writer() as session:
        first = stored(noun, session)
        other = stored(noun, session)
        with pytest.raises(errors.Conflict, match=f"with name {first.name} exists already"):
            noun.create(session, dataclasses.replace(first, id=str(uuid.uuid4())))
        assert len(noun.list_(session)) == 2  # The transaction still works.
    with (
        pytest.raises(errors.Conflict, match=f"with name {first.name} exists already"),
        database.writer() as session,
    ):
        noun.update(session, other.id, name=first.name)


@NAMED
def test_names_differ_by_case(noun: ModuleType, database: Database) -> None:
    with database.writer() as session:
        first = stored(noun, session)
        name = first.name.upper()
        noun.create(session, dataclasses.replace(first, id=str(uuid.uuid4()), name=name))
        assert noun.find(session, first.name) == first
        assert noun.find(session, name) != first


@NAMED
def test_names_differ_by_spaces_at_the_end(noun: ModuleType, database: Database) -> None:
    with database.writer() as session:
        first = stored(noun, session)
        with pytest.raises(errors.NotFound):
            noun.find(session, f"{first.name} ")
        assert noun.list_(session, {"name": f"{first.name} "}) == []
        noun.create(session, dataclasses.replace(first, id=str(uuid.uuid4()), name=f"{first.name} "))
        assert noun.find(session, first.name) == first


@NAMED
def test_find_by_id_or_name(noun: ModuleType, database: Database) -> None:
    with database.writer() as session:
        first = stored(noun, session)
        # Who is named by another one's id does not hide it.
        noun.create(session, dataclasses.replace(first, id=str(uuid.uuid4()), name=first.id))
        assert noun.find(session, first.id) == noun.find(session, first.name) == first
        with pytest.raises(errors.NotFound, match="nobody not found"):
            noun.find(session, "nobody")


def test_a_device_key_that_is_taken(database: Database) -> None:
    with database.writer() as session:
        _, host, device = make.place(session)
        with pytest.raises(errors.Conflict, match=f"host_id {host.id}, key {device.key} exists"):
            devices.create(session, make.device(host, key=device.key))


@CHANGED
def test_what_is_not_there(noun: ModuleType, database: Database) -> None:
    with database.writer() as session, pytest.raises(errors.NotFound, match="nothing not found"):
        noun.get(session, "nothing")


@CHANGED
def test_update_changes_one_row_and_its_time(noun: ModuleType, database: Database) -> None:
    with database.writer() as session:
        before, other = stored(noun, session), stored(noun, session)
        key, value = ("description", "new") if noun in (pools, profiles) else ("created_at", make.NOW)
        after = noun.update(session, before.id, **{key: value})
        assert getattr(after, key) == value
        assert after.updated_at > before.updated_at
        assert noun.get(session, other.id) == other
        with pytest.raises(errors.NotFound, match="nothing not found"):
            noun.update(session, "nothing", **{key: value})


@DELETED
def test_delete(noun: ModuleType, database: Database) -> None:
    with database.writer() as session:
        item, other = stored(noun, session), stored(noun, session)
        noun.delete(session, item.id)
        with pytest.raises(errors.NotFound, match=f"{item.id} not found"):
            noun.delete(session, item.id)
        left = [one.id for one in noun.list_(session)]
    assert item.id not in left
    assert other.id in left


@NOUNS
def test_every_filter(noun: ModuleType, database: Database) -> None:
    with database.writer() as session:
        item, others = stored(noun, session), [stored(noun, session) for _ in range(2)]
        everything = noun.list_(session)
        for key in keys(noun):
            value = getattr(item, key)
            same = [one for one in everything if getattr(one, key) == value]
            assert noun.list_(session, {key: value}) == same, key
            other = getattr(others[0], key)
            if value is not None and other is not None:
                either = [one for one in everything if getattr(one, key) in (value, other)]
                assert noun.list_(session, {key: {value, other}}) == either, key
            assert noun.list_(session, {key: []}) == []
            assert noun.list_(session, {key: None}) == [
                one for one in everything if getattr(one, key) is None
            ], key
            if isinstance(value, Enum):
                assert noun.list_(session, {key: str(value)}) == same
        assert noun.list_(session, {"id": item.id, keys(noun)[0]: getattr(item, keys(noun)[0])}) == [
            item
        ]


@NOUNS
def test_every_sort(noun: ModuleType, database: Database) -> None:
    with database.writer() as session:
        for _ in range(3):
            stored(noun, session)
        everything = noun.list_(session)

        def rank(item: Any, key: str) -> Any:
            value = getattr(item, key)
            return (value is not None, value)

        for key in keys(noun):
            by_id = sorted(everything, key=lambda one: one.id)
            ordered = sorted(by_id, key=lambda one, key=key: rank(one, key))
            assert noun.list_(session, sort=[(key, "asc")]) == ordered, key
            ordered = sorted(by_id, key=lambda one, key=key: rank(one, key), reverse=True)
            if key != "id":  # `reverse` keeps the order of equals, so ids go up in both.
                assert noun.list_(session, sort=[(key, "desc")]) == ordered, key


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": {"ticket": "x"}}, r"filter is 'ticket'; allowed: .*state"),
        ({"filters": {"environment": {}}}, r"filter is 'environment'; allowed: .*state"),
        ({"filters": {"state": "gone"}}, r"state is 'gone'; allowed: pending, ready, failed, removing"),
        ({"filters": {"state": ["ready", "gone"]}}, r"state is 'gone'; allowed: pending"),
        ({"filters": {"generation": "1"}}, r"generation is '1'; allowed: a value of type int"),
        ({"filters": {"generation": True}}, r"generation is True; allowed: a value of type int"),
        ({"filters": {"generation": 2**63}}, r"generation is 9223372036854775808; allowed: at most"),
        ({"filters": {"claim_id": 1}}, r"claim_id is 1; allowed: a value of type str"),
        ({"filters": {"claim_id": "\0"}}, r"claim_id is '\\x00'; allowed: Unicode text without NUL"),
        ({"filters": {"created_at": "now"}}, r"created_at is 'now'; allowed: a value of type datetime"),
        ({"sort": [("ticket", "asc")]}, r"sort key is 'ticket'; allowed: .*state"),
        ({"sort": [("state", "up")]}, r"sort direction is 'up'; allowed: asc, desc"),
        ({"marker": "nothing"}, r"marker nothing is no attachment"),
    ],
)
def test_listings_refuse(arguments: dict[str, Any], message: str, database: Database) -> None:
    with database.reader() as session, pytest.raises(errors.Invalid, match=message):
        attachments.list_(session, **arguments)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "a" * 256}, "name has 256 characters; allowed: at most 255"),
        ({"name": "a\0b"}, "allowed: Unicode text without NUL"),
        ({"name": "\ud800"}, "allowed: Unicode text without NUL"),
        ({"description": "\u20ac" * 21846}, "description is too long; allowed: at most 65535 bytes"),
        ({"memory_mib": 2**63}, "memory_mib is 9223372036854775808; allowed: at most"),
        ({"tier": "best"}, "tier is 'best'; allowed: dedicated, local, pool"),
    ],
)
def test_values_that_do_not_fit(fields: dict[str, Any], message: str, database: Database) -> None:
    with database.writer() as session:
        with pytest.raises(errors.Invalid, match=message):
            profiles.create(session, make.profile(**fields))
        kept = profiles.create(
            session,
            make.profile(name="\U0001f600" * 255, description="\u20ac" * 21845, memory_mib=2**63 - 1),
        )
        with pytest.raises(errors.Invalid, match=message):
            profiles.update(session, kept.id, **fields)
        assert profiles.list_(session) == [kept]


def test_rows_that_others_need_stay(database: Database) -> None:
    with database.writer() as session:
        _, host, device = make.place(session)
        claim = make.stored_claim(session)
        vgpu = vgpus.create(session, make.vgpu(claim, device))
        for noun, item in ((hosts, host), (devices, device)):
            with pytest.raises(errors.Conflict, match=f"{item.id} is still in use"):
                noun.delete(session, item.id)
        vgpus.delete(session, vgpu.id)
        sessions.replace(session, host.id, [make.session(host)])
        hosts.delete(session, host.id)
        assert (devices.list_(session), sessions.list_(session)) == ([], [])


def test_what_refers_to_nothing_is_refused(database: Database) -> None:
    gone = make.host(make.pool())
    with database.writer() as session:
        with pytest.raises(errors.Invalid, match="refers to something that is gone"):
            devices.create(session, make.device(gone))
        with pytest.raises(errors.NotFound, match=r"pool .* not found"):
            claims.create(session, make.claim(make.pool()))
        assert devices.list_(session) == claims.list_(session) == []


def test_an_error_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.writer() as session:  # noqa: PT012
        pools.create(session, make.pool())
        raise ZeroDivisionError
    with database.reader() as session:
        assert pools.list_(session) == []


def test_a_reader_writes_nothing(database: Database) -> None:
    with database.reader() as session:
        pools.create(session, make.pool())
    with database.reader() as session:
        assert pools.list_(session) == []


def test_devices_upsert(database: Database) -> None:
    with database.writer() as session:
        _, host, device = make.place(session)
        devices.update(session, device.id, enabled=False, disabled_reason="fan")
    with database.writer() as session:
        before = devices.get(session, device.id)
        same = devices.upsert(session, dataclasses.replace(device, created_at=None))
        assert same == before  # Its time too: nothing was written.
        seen = make.device(host, id=device.id, key=device.key, memory_mib=5, traits=("CUSTOM_B",))
        after = devices.upsert(session, seen)
        assert after == dataclasses.replace(
            before, memory_mib=5, traits=("CUSTOM_B",), updated_at=after.updated_at
        )
        new = devices.upsert(session, make.device(host))
        assert {one.id for one in devices.list_(session)} == {device.id, new.id}


def test_sessions_replace(database: Database) -> None:
    with database.writer() as session:
        _, host, _ = make.place(session)
        _, other_host, _ = make.place(session)
        kept, ended, elsewhere = make.session(host), make.session(host), make.session(other_host)
        sessions.replace(session, host.id, [kept, ended])
        sessions.replace(session, other_host.id, [elsewhere])
        busier = dataclasses.replace(kept, busy_ns=5)
        new = make.session(host, started_at=make.later(1))
        sessions.replace(session, host.id, [new, busier])
        assert sessions.list_(session, {"host_id": host.id}) == [busier, new]
        assert sessions.list_(session, {"host_id": other_host.id}) == [elsewhere]
        # What another host has stays its own, and of two of one id the last counts.
        stolen = dataclasses.replace(elsewhere, host_id=host.id)
        sessions.replace(session, host.id, [stolen, kept, busier])
        assert sessions.list_(session, {"host_id": host.id}) == [busier]
        assert sessions.list_(session, {"host_id": other_host.id}) == [elsewhere]
        sessions.replace(session, host.id, [stolen])
        assert sessions.list_(session, {"host_id": host.id}) == []


def test_hosts_find_in(database: Database) -> None:
    with database.writer() as session:
        pool, host, _ = make.place(session)
        other, elsewhere, _ = make.place(session)
        for name_or_id in (host.name, host.id):
            assert hosts.find_in(session, pool.id, name_or_id) == host
            assert hosts.find_in(session, other.id, name_or_id) is None
        assert hosts.find_in(session, other.id, elsewhere.name) == elsewhere
        assert hosts.find_in(session, pool.id, "x" * 200) is None
        with pytest.raises(errors.Invalid):
            hosts.find_in(session, pool.id, "\0")


def test_hosts_up(database: Database) -> None:
    with database.writer() as session:
        pool = pools.create(session, make.pool())
        up, _ = (hosts.create(session, make.host(pool, state=state)) for state in ("up", "down"))
        assert [host.id for host in hosts.up(session)] == [up.id]
