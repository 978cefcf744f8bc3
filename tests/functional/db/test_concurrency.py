"""Many writers at once, on every database: each change is made once, none is lost."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from gpupool.db import claims, hosts, pools, profiles
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.states import ClaimState
from tests.functional.db import make

THREADS = 16
T = TypeVar("T")


def at_once(work: Callable[[int], T], threads: int = THREADS) -> list[T | errors.GpupoolError]:
    """Run ``work`` in threads that start together; return what each returned, or its error."""
    start = threading.Barrier(threads)

    def run(number: int) -> T | errors.GpupoolError:
        start.wait()
        try:
            return work(number)
        except errors.GpupoolError as exc:
            return exc

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


def test_one_of_two_writers_wins(database: Database) -> None:
    with database.writer() as session:
        claim = make.stored_claim(session)
    with database.reader() as session:
        seen = claims.get(session, claim.id)
    with database.writer() as session:
        won = claims.transition(session, seen, ClaimState.ALLOCATING)
    with pytest.raises(errors.Conflict, match="somebody else"), database.writer() as session:
        claims.transition(session, seen, ClaimState.RELEASED)
    with database.reader() as session:
        assert claims.get(session, claim.id) == won


def test_one_of_many_writers_wins(database: Database) -> None:
    with database.writer() as session:
        claim = make.stored_claim(session)

    @database.retry
    def change(number: int) -> str:
        with database.writer() as session:
            claims.transition(session, claim, ClaimState.ALLOCATING, state_reason=f"by {number}")
        return f"by {number}"

    results = at_once(change)
    [winner] = [result for result in results if isinstance(result, str)]
    conflicts = [result for result in results if isinstance(result, errors.Conflict)]
    assert len(conflicts) == THREADS - 1
    with database.reader() as session:
        after = claims.get(session, claim.id)
    assert (after.state, after.state_reason, after.generation) == ("allocating", winner, 1)


def test_a_writer_that_read_too_early_loses(database: Database) -> None:
    """The two overlap: the loser has read in its own transaction before the winner commits."""
    with database.writer() as session:
        claim = make.stored_claim(session)
    with database.reader() as session:
        url = session.get_bind().url.render_as_string(hide_password=False)
        seen = claims.get(session, claim.id)
        with Database.from_url(url).writer() as winner:
            claims.update(winner, claim.id, expected_generation=seen.generation, name="won")
    with pytest.raises(errors.Conflict, match="somebody else"), database.writer() as session:
        claims.update(session, claim.id, expected_generation=seen.generation, name="lost")
    with database.reader() as session:
        assert claims.get(session, claim.id).name == "won"


def test_generations_of_a_host_are_each_given_once(database: Database) -> None:
    with database.writer() as session:
        _, host, _ = make.place(session)

    @database.retry
    def bump() -> int:
        with database.writer() as session:
            return hosts.bump_generation(session, host.id)

    given = at_once(lambda _: [bump() for _ in range(10)])
    assert sorted(number for numbers in given for number in numbers) == list(range(1, THREADS * 10 + 1))
    with database.reader() as session:
        assert hosts.get(session, host.id).generation == THREADS * 10
        with pytest.raises(errors.NotFound, match="host nothing not found"):
            hosts.bump_generation(session, "nothing")


@pytest.mark.parametrize("noun", [profiles, pools])
def test_a_change_of_nothing_locks_the_row(database: Database, noun: Any) -> None:
    """What the conductor checks after that, with what is stored, no other changes meanwhile."""
    with database.writer() as session:
        item = noun.create(session, make.profile() if noun is profiles else make.pool())

    @database.retry
    def add(number: int) -> None:
        with database.writer() as session:
            before = noun.update(session, item.id)
            noun.update(session, item.id, description=f"{before.description}{number:x}")

    at_once(add)
    with database.reader() as session:
        assert sorted(noun.get(session, item.id).description) == sorted("0123456789abcdef")


def test_many_writers_and_readers(database: Database) -> None:
    """SQLite too: writers take turns, nobody is told that the database is locked."""
    with database.writer() as session:
        pool, _, _ = make.place(session)

    @database.retry
    def write() -> str:
        with database.writer() as session:
            before = claims.list_(session, {"project_id": "project"}, limit=5)
            created = claims.create(session, make.claim(pool))
            if before:
                claims.update(session, created.id, state_reason="second")
            return created.id

    def work(number: int) -> list[str]:
        if number % 4:
            return [write() for _ in range(10)]
        for _ in range(10):
            with database.reader() as session:
                assert len(claims.list_(session)) <= claims.count_by_state(session)["queued"]
        return []

    made = [one for ids in at_once(work) for one in ids]
    with database.reader() as session:
        assert {claim.id for claim in claims.list_(session)} == set(made)
    assert len(made) == 12 * 10


def test_the_same_id_at_once_makes_one(database: Database) -> None:
    with database.writer() as session:
        pool = pools.create(session, make.pool())
    claim = make.claim(pool)

    @database.retry
    def create(_: int) -> str:
        with database.writer() as session:
            return claims.create(session, claim).id

    assert at_once(create) == [claim.id] * THREADS


def test_the_same_name_at_once_is_given_once(database: Database) -> None:
    @database.retry
    def create(_: int) -> str:
        with database.writer() as session:
            return pools.create(session, make.pool(name="same")).id

    results = at_once(create)
    [made] = [result for result in results if isinstance(result, str)]
    messages = {str(result) for result in results if isinstance(result, errors.Conflict)}
    assert messages == {"a pool with name same exists already"}
    with database.reader() as session:
        assert [pool.id for pool in pools.list_(session)] == [made]


def test_no_claim_comes_into_a_pool_that_goes(database: Database) -> None:
    with database.writer() as session:
        doomed = [pools.create(session, make.pool()) for _ in range(8)]

    @database.retry
    def work(number: int) -> None:
        pool = doomed[number // 2]
        with database.writer() as session:
            if number % 2:
                pools.delete(session, pool.id)
            else:
                claims.create(session, make.claim(pool))

    results = at_once(work)
    with database.reader() as session:
        left = {pool.id for pool in pools.list_(session)}
        assert {claim.pool_id for claim in claims.list_(session)} == left
    # Of each pair exactly one is refused.
    refused = [isinstance(result, errors.GpupoolError) for result in results]
    assert [sum(refused[pair : pair + 2]) for pair in range(0, THREADS, 2)] == [1] * 8


def test_a_deadlock_is_resolved_and_tried_again(
    database: Database, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["backend"] == "sqlite":
        pytest.skip("writers of SQLite take turns, so they can't block each other")
    with database.writer() as session:
        first, second = (pools.create(session, make.pool()) for _ in range(2))
    both = threading.Barrier(2)
    attempts = []

    @database.retry
    def cross(number: int) -> None:
        order = (first, second) if number else (second, first)
        attempts.append(number)
        with database.writer() as session:
            pools.update(session, order[0].id, description=f"first of {number}")
            if len(attempts) <= 2:
                both.wait()
            pools.update(session, order[1].id, description=f"second of {number}")

    assert at_once(cross, threads=2) == [None, None]
    assert len(attempts) == 3
    with database.reader() as session:
        found = {pools.get(session, pool.id).description for pool in (first, second)}
    # Whoever came last wrote both.
    assert found in ({"first of 0", "second of 0"}, {"first of 1", "second of 1"})
