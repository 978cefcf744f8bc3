"""What a project's claims hold, and that only one adds to it at a time."""

from gpupool.db import claims, pools, quotas
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.quota import Resource
from gpupool.model.states import ClaimState
from tests.functional.db import make
from tests.functional.db.test_concurrency import at_once

LIMIT = 5


def test_a_project_without_claims_holds_nothing(database: Database) -> None:
    with database.reader() as session:
        assert quotas.used(session, "blue") == dict.fromkeys(Resource, 0)


def test_what_has_not_ended_counts_of_this_project_only(database: Database) -> None:
    sizes = {"count": 3, "compute": 20, "memory_mib": 100}
    with database.writer() as session:
        for state in ClaimState:
            make.stored_claim(session, project_id="blue", state=state, **sizes)
        other = make.stored_claim(session, project_id="blue", count=2, compute=5, memory_mib=7)
        make.stored_claim(session, project_id="green", **sizes)
    live = len(ClaimState) - 3
    with database.reader() as session:
        assert quotas.used(session, "blue", besides=other.id) == {
            Resource.CLAIMS: live,
            Resource.VGPUS: 3 * live,
            Resource.COMPUTE: 60 * live,
            Resource.MEMORY_MIB: 300 * live,
        }
        assert quotas.used(session, "blue")[Resource.MEMORY_MIB] == 300 * live + 14


def test_of_many_at_once_no_more_pass_than_there_is_room_for(database: Database) -> None:
    with database.writer() as session:
        pool = pools.create(session, make.pool())

    @database.retry
    def create(number: int) -> str:
        with database.writer() as session:
            project = ("blue", "green")[number % 2]
            quotas.hold(session, project)
            if quotas.used(session, project)[Resource.CLAIMS] >= LIMIT:
                raise errors.OverQuota("enough")
            return claims.create(session, make.claim(pool, project_id=project)).project_id

    results = at_once(create, 24)
    made = [result for result in results if isinstance(result, str)]
    assert (made.count("blue"), made.count("green")) == (LIMIT, LIMIT)
    refused = [result for result in results if not isinstance(result, str)]
    assert {type(result) for result in refused} == {errors.OverQuota}


def test_a_project_is_held_again_in_one_transaction(database: Database) -> None:
    with database.writer() as session:
        quotas.hold(session, "blue")
        quotas.hold(session, "blue")
