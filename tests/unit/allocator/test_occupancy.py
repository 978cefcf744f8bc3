"""The pool as it will be without some of its claims."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupool.allocator.claims import Running
from gpupool.allocator.occupancy import Occupancy
from gpupool.allocator.planning import place
from gpupool.allocator.policies import BestFit
from gpupool.model.claim import Qos
from tests.unit.allocator.queues import FEW, demand, demands, pool, pools, running, state


@st.composite
def occupied(draw):
    """A pool and the claims on it."""
    view, claims = draw(pools()), []
    for number in range(draw(st.integers(0, 10))):
        wanted = draw(demands())
        planned = place(view, wanted, BestFit())
        if planned is None:
            continue
        view.take(wanted, planned)
        claims.append(
            Running(
                claim_id=f"claim-{number}",
                project_id=draw(st.sampled_from("ab")),
                demand=wanted,
                plan=planned,
                priority=50,
                bound_at=0.0,
                ends_at=draw(st.sampled_from((None, 5.0, 7.0, 9.0))),
                preemptible=draw(st.booleans()),
                leaving=draw(st.sampled_from((False, False, True))),
            )
        )
    return view, claims


def of(view, claims) -> Occupancy:
    occupancy = Occupancy()
    for claim in claims:
        occupancy.put(claim)
    occupancy.bind(view)
    return occupancy


@FEW
@given(occupied(), st.sampled_from((float("-inf"), 4.0, 5.0, 7.0, 100.0, float("inf"))))
def test_without_those_that_end_is_as_if_they_had_given_it_back(drawn, moment):
    view, claims = drawn
    before = state(view)
    later = of(view, claims).without(of(view, claims).until(moment))
    assert state(view) == before
    for claim in claims:
        end = float("inf") if claim.ends_at is None else claim.ends_at
        if (float("-inf") if claim.leaving else end) <= moment:
            view.give(claim.demand, claim.plan)
    assert state(later) == state(view)


@FEW
@given(occupied(), st.data())
def test_claims_come_and_go(drawn, data):
    view, claims = drawn
    gone = data.draw(st.sets(st.sampled_from(claims or [None])))
    left = [claim for claim in claims if claim not in gone]
    occupancy = of(view, claims)
    for claim in gone - {None}:
        occupancy.remove(claim.claim_id)
    for claim in left:
        occupancy.put(claim)
    again = of(view, left)
    assert list(occupancy.ends()) == list(again.ends())
    assert state(occupancy.without(occupancy.until(7.0))) == state(again.without(again.until(7.0)))
    assert occupancy.rates == again.rates
    assert occupancy.preemptible == again.preemptible
    assert occupancy.ids(occupancy.until(7.0)) == again.ids(again.until(7.0))
    assert occupancy.amounts(occupancy.until(np.inf)) == again.amounts(again.until(np.inf))


def test_amounts_are_added_up_by_place():
    view = pool(devices=2)
    share = demand(30, cpu_milli=500)
    claims = [
        running(view, "a", ["host-0/0"], demand=share),
        running(view, "b", ["host-0/0"], demand=share),
        running(view, "c", ["host-0/1"], demand=demand(40, qos=Qos.BEST_EFFORT)),
    ]
    occupancy = of(view, claims)
    everything = occupancy.until(np.inf)
    assert occupancy.amounts(everything) == {(0, 0): (60, 20), (0, 1): (40, 10), (0, -1): (1000, 0)}
    assert occupancy.amounts(everything, guaranteed=True) == {(0, 0): (60, 20), (0, -1): (1000, 0)}
    assert occupancy.ids(occupancy.on([(0, 1)])) == ["c"]
    assert occupancy.ids(occupancy.on([(0, -1)])) == ["a", "b", "c"]
    assert occupancy.counts(everything).tolist() == [[2, 1]]
    assert occupancy.ids(occupancy.of(["a", "unknown"])) == ["a"]


def test_places_that_the_view_does_not_know_are_left_out():
    view, other = pool(hosts=2), pool(hosts=1)
    claim = running(view, "a", ["host-0/0", "host-1/0"])
    other.take(demand(), claim.plan.__class__(host="host-0", shares=demand().shares(["host-0/0"])))
    occupancy = of(view, [claim])
    occupancy.bind(other)
    free = occupancy.without(occupancy.of(["a"]))
    assert free.compute.free.tolist() == [[100]]
    occupancy.bind(pool(hosts=1, devices=1))
    occupancy.remove("a")
    assert not occupancy.until(np.inf).any()


def test_rates_count_all_vgpus_of_claims_that_stay():
    view = pool(devices=3)
    occupancy = of(view, [running(view, "a", ["host-0/0", "host-0/1"], preemptible=True)])
    assert occupancy.rates == {"project": 200}
    assert occupancy.preemptible == 1
    leaving = running(view, "b", ["host-0/2"], leaving=True, preemptible=True)
    occupancy.put(leaving)
    assert occupancy.rates == {"project": 200}
    assert occupancy.preemptible == 1
    assert list(occupancy.ends()) == [float("-inf")]


def test_a_view_comes_first():
    with pytest.raises(RuntimeError, match="not bound"):
        _ = Occupancy().view
