"""For how many claims room is kept because their projects are owed much."""

from dataclasses import replace

from gpupool.allocator.debts import MOST, Debts
from gpupool.allocator.fairshare import FairShare, Usage
from gpupool.allocator.occupancy import Occupancy
from gpupool.allocator.reservation import reservation_of, reserve
from tests.unit.allocator.queues import BestFit, demand, pool, running, waiting

HALF_LIFE = 1000.0


def debts(occupancy: Occupancy, owed: float) -> Debts:
    """What project a is owed beside b, in parts of what the pool gives in a half-life."""
    shares = FairShare(HALF_LIFE)
    size = float(occupancy.view.compute.total.sum())
    shares.restore({"a": Usage(0.0, 0.0, owed * size * HALF_LIFE)})
    return Debts(shares, occupancy, {"a", "b"}, 0.0)


def test_the_more_is_owed_the_more_claims_have_room_kept_up_to_so_many():
    occupancy = Occupancy()
    occupancy.bind(pool(1, 8))
    found = [debts(occupancy, owed).more("a", []) for owed in (-0.1, 0.0, 0.011, 0.016, 1.0)]
    assert found == [0, 0, 2, 3, MOST]
    assert debts(occupancy, 0.011).more("b", []) == 0
    assert debts(occupancy, 0.011).most == 2


def test_none_has_once_the_project_runs_or_has_kept_its_part():
    view, occupancy = pool(1, 8), Occupancy()
    occupancy.bind(view)
    occupancy.put(running(view, "two", ["host-0/0", "host-0/1"], project_id="a"))
    assert debts(occupancy, 0.02).more("a", []) == 4
    claim = waiting("waits", project_id="a", demand=demand(count=2))
    kept = reserve(claim, occupancy, [], BestFit())
    assert debts(occupancy, 0.02).more("a", [kept]) == 0
    assert debts(occupancy, 0.02).more("a", [replace(kept, project_id="b")]) == 4


def test_with_a_large_debt_room_is_kept_where_claims_of_others_run():
    view, occupancy = pool(1, 2), Occupancy()
    occupancy.bind(view)
    occupancy.put(running(view, "mine", ["host-0/0"], project_id="a"))
    for number in range(2):
        half = demand(50)
        other = running(view, f"other-{number}", ["host-0/1"], demand=half, project_id="b")
        occupancy.put(other)
    claim = waiting("waits", project_id="a")
    for owed, device in ((0.01, "host-0/0"), (0.05, "host-0/1")):
        found = reserve(claim, occupancy, [], BestFit(), debts(occupancy, owed).is_large("a"))
        assert found == reservation_of(claim, found.plan, float("inf"))
        assert found.plan.device_ids == (device,)
