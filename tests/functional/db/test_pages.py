"""Pages by marker: together they are the listing, whatever the order and whatever is inserted."""

import itertools
import re
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from gpupool.db import claims, pages, pools, sessions
from gpupool.db.api import Database
from gpupool.db.pages import Sort
from gpupool.model import errors
from tests.functional.db import make

SORTS: list[Sort] = [
    (),
    [("created_at", "desc")],
    [("lease_end", "asc")],
    [("lease_end", "desc")],
    [("lease_end", "desc"), ("host", "asc"), ("priority", "desc")],
    [("host", "asc"), ("lease_end", "asc")],
    [("state", "desc"), ("name", "asc")],
    [("id", "desc")],
]


def fill(database: Database) -> None:
    """Store claims with many equal and missing values."""
    cases = itertools.product((None, make.NOW, make.later(1e-6)), (None, "a", "b"), (1, 2))
    with database.writer() as session:
        pool = pools.create(session, make.pool())
        for lease_end, host, priority in cases:
            item = make.claim(
                pool, lease_end=lease_end, host=host, priority=priority, created_at=make.later(priority)
            )
            claims.create(session, item)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("limit", [1, 4, 18])
def test_pages_are_the_listing(sort: Sort, limit: int, database: Database) -> None:
    fill(database)
    with database.reader() as session:
        everything = claims.list_(session, sort=sort)
        seen = []
        page = claims.list_(session, sort=sort, limit=limit)
        while page:
            seen += page
            page = claims.list_(session, sort=sort, marker=seen[-1].id, limit=limit)
    assert len(everything) == 18
    assert seen == everything


@pytest.mark.parametrize("sort", [[("priority", "desc")], [("lease_end", "asc")], ()])
def test_inserts_between_pages_repeat_and_skip_nothing(sort: Sort, database: Database) -> None:
    fill(database)
    with database.writer() as session:
        before = claims.list_(session, sort=sort)
        pool_id = before[0].pool_id
        seen = []
        marker = None
        while page := claims.list_(session, sort=sort, marker=marker, limit=3):
            seen += page
            marker = page[-1].id
            if len(seen) < 15:  # One that sorts first, one that sorts last.
                pool = pools.get(session, pool_id)
                claims.create(session, make.claim(pool, priority=100, created_at=make.later(-9)))
                claims.create(session, make.claim(pool, priority=0, lease_end=make.later(9)))
    old = {claim.id for claim in before}
    assert [claim for claim in seen if claim.id in old] == before
    assert len({claim.id for claim in seen}) == len(seen)


def test_a_marker_need_not_meet_the_filter(database: Database) -> None:
    fill(database)
    with database.reader() as session:
        everything = claims.list_(session)
        for place, marker in enumerate(everything):
            rest = [claim for claim in everything[place + 1 :] if claim.host == "a"]
            assert claims.list_(session, {"host": "a"}, marker=marker.id) == rest


def test_a_marker_must_be_of_whose_items_are_listed(database: Database) -> None:
    """Else its place among one's own would say what another's sizes are."""
    fill(database)
    with database.writer() as session:
        pool, host, _ = make.place(session)
        foreign = claims.create(session, make.claim(pool, project_id="other"))
        assert claims.list_(session, {"project_id": ["other"]}, marker=foreign.id) == []
        with pytest.raises(errors.Invalid, match=f"marker {foreign.id} is no claim"):
            claims.list_(session, {"project_id": ["project"]}, [("compute", "asc")], foreign.id)
        mine, other = make.session(host), make.session(host)
        sessions.replace(session, host.id, [mine, other])
        with pytest.raises(errors.Invalid, match=f"marker {other.id} is no session"):
            sessions.list_(session, {"attachment_id": [mine.attachment_id]}, marker=other.id)


def test_times_are_told_apart_by_the_microsecond(database: Database) -> None:
    with database.writer() as session:
        pool = pools.create(session, make.pool())
        times = [make.later(number * 1e-6) for number in (2, 0, 3, 1)]
        for time in times:
            claims.create(session, make.claim(pool, created_at=time))
        assert [claim.created_at for claim in claims.list_(session)] == sorted(times)


def test_a_sort_key_comes_once(database: Database) -> None:
    with database.reader() as session, pytest.raises(errors.Invalid, match="'name' is given twice"):
        claims.list_(session, sort=[("name", "asc"), ("state", "asc"), ("name", "desc")], marker="x")


def test_the_condition_of_a_page_grows_as_the_keys_do() -> None:
    """Each key is compared twice, not once more for every key after it."""
    columns = {name: sa.Column(name, sa.Integer(), nullable=False) for name in ("id", *"abcdefghijklm")}
    marker = SimpleNamespace(**dict.fromkeys(columns, 1))
    compared = []
    for count in (1, 6, 12):
        order = pages.parse([(name, "asc") for name in list(columns)[1 : 1 + count]], columns)
        query = pages.page(sa.select(*columns.values()), order, marker)
        compared.append(len(re.findall(" [=>] ", str(query))))
    # Of the id, which is last, nothing comes after an equal one.
    assert compared == [2 * count + 1 for count in (1, 6, 12)]
