"""Room that is made on devices that are not cut freely."""

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpupool.allocator.claims import Running
from gpupool.allocator.planning import place
from gpupool.allocator.scheduling import Preempt, QueueRules
from gpupool.model.device import SharingMode
from tests.unit.allocator.queues import FEW, Clock, Job, demand, pool, waiting
from tests.unit.allocator.test_preemption import (
    BEST,
    MORE,
    NOW,
    cost,
    fits,
    legal,
    preemption,
    victims,
)

MIG = {"product": "NVIDIA A100-SXM4-40GB", "sharing_mode": SharingMode.MIG}
T4 = {"product": "Tesla T4", "sharing_mode": SharingMode.MDEV}
WHOLE = {"product": "Tesla T4", "sharing_mode": SharingMode.EXCLUSIVE}
KINDS = ("1g.5gb", "1g.5gb+me", "1g.10gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb")
TYPES = ("T4-16Q", "T4-8Q", "T4-4Q", "T4-1Q", "T4-4C")


def parted(hosts, devices, kind):
    """An empty pool of devices of one kind."""
    return pool(hosts, devices, memory_total=40_000, memory_limit=40_000, **kind)


def part(kind, partition, **changes):
    return demand(1, sharing_mode=kind["sharing_mode"], partition=partition, **changes)


@st.composite
def parts(draw, kind):
    names = {SharingMode.MIG: KINDS, SharingMode.MDEV: TYPES}.get(kind["sharing_mode"], ("",))
    changes = {
        "count": draw(st.sampled_from((1, 1, 1, 2))),
        "cpu_milli": draw(st.sampled_from((0, 9000))),
    }
    return part(kind, draw(st.sampled_from(names)), **changes)


@st.composite
def crowds(draw):
    """A pool, claims on it, up to eight of which may be taken apart, and one that comes."""
    kind = draw(st.sampled_from((MIG, MIG, T4, WHOLE)))
    view, claims = parted(draw(st.integers(1, 2)), draw(st.integers(1, 2)), kind), []
    for number in range(draw(st.integers(3, 14))):
        wanted = draw(parts(kind))
        planned = place(view, wanted, BEST)
        if planned is None:
            continue
        claim = Running(
            claim_id=f"claim-{number}",
            project_id="project",
            demand=wanted,
            plan=planned,
            priority=draw(st.sampled_from((10, 10, 20, 50))),
            bound_at=NOW - draw(st.sampled_from((50, 100, 120, 200, 300, 900))),
            ends_at=None,
            preemptible=draw(st.sampled_from((True, True, True, False))),
        )
        view.take(wanted, planned)
        # Some have left again, so that there are gaps.
        if draw(st.sampled_from((True, True, True, False))):
            claims.append(claim)
        else:
            view.give(wanted, planned)
    may = [claim for claim in claims if legal(claim)]
    kept = [replace(each, preemptible=each.preemptible and each not in may[8:]) for each in claims]
    return view, kept, draw(parts(kind))


@MORE
@given(crowds())
def test_victims_are_legal_and_none_is_superfluous(drawn):
    view, claims, wanted = drawn
    by_id = {claim.claim_id: claim for claim in claims}
    may = [claim for claim in claims if legal(claim)]
    found = preemption(view, claims).victims(waiting("next", demand=wanted))
    if found is None:
        assert fits(view, wanted, []) or not fits(view, wanted, may)
        return
    chosen = [by_id[claim_id] for claim_id in found.claim_ids]
    assert chosen
    assert all(claim in may for claim in chosen)
    assert fits(view, wanted, chosen)
    assert not any(fits(view, wanted, [each for each in chosen if each is not one]) for one in chosen)


@settings(MORE, max_examples=300)
@given(crowds())
def test_no_set_is_cheaper_for_one_part(drawn):
    view, claims, wanted = drawn
    wanted = replace(wanted, count=1, cpu_milli=0)
    found = victims(view, claims, waiting("next", demand=wanted))
    if not found:
        return
    may = [claim for claim in claims if legal(claim)]
    sets = (each for size in range(1, len(may) + 1) for each in combinations(may, size))
    best = min(cost(each) for each in sets if fits(view, wanted, each))
    assert cost([claim for claim in claims if claim.claim_id in found]) == best


def small(view, count, **changes):
    """As many parts of the smallest kind, one after the other; the first has run for longest."""
    found = []
    for number in range(count):
        wanted = part(MIG, "1g.5gb")
        planned = place(view, wanted, BEST)
        view.take(wanted, planned)
        values = {"priority": 10, "preemptible": True, "bound_at": 10.0 * number, **changes}
        found.append(
            Running(
                claim_id=f"small-{number}",
                project_id="project",
                demand=wanted,
                plan=planned,
                ends_at=None,
                **values,
            )
        )
    return found


@pytest.mark.parametrize(("partition", "count"), [("7g.40gb", 7), ("4g.20gb", 4), ("3g.20gb", 3)])
def test_those_in_the_way_of_a_part_make_room(partition, count):
    view = parted(1, 1, MIG)
    found = victims(view, small(view, 7), waiting("next", demand=part(MIG, partition)))
    assert len(found) == count


def test_where_amounts_suffice_those_in_the_way_go():
    view = parted(1, 1, MIG)
    claims = small(view, 7)
    # Three of seven slices are free, but no two beside each other.
    for claim in [each for each in claims if each.plan.shares[0].part.place in {1, 3, 5}]:
        view.give(claim.demand, claim.plan)
        claims.remove(claim)
    assert len(victims(view, claims, waiting("next", demand=part(MIG, "2g.10gb")))) == 1
    # Who may not be taken apart is in the way.
    fixed = [replace(each, preemptible=False) for each in claims]
    assert victims(view, fixed, waiting("next", demand=part(MIG, "2g.10gb"))) == ()


@FEW
@given(st.data())
def test_parts_make_room_in_the_queue_too(data):
    kind = data.draw(st.sampled_from((MIG, MIG, T4, WHOLE)))
    view, jobs = parted(1, 2, kind), []
    for number in range(data.draw(st.integers(5, 20))):
        claim = waiting(
            f"claim-{number:02}",
            float(number),
            demand=data.draw(parts(kind)),
            priority=data.draw(st.sampled_from((10, 20, 90))),
            preemptible=True,
        )
        jobs.append(Job(claim, float(data.draw(st.integers(2, 20)))))
    clock = Clock(view, QueueRules(min_run_time=0.0))
    clock.add(jobs)
    while clock.events:
        for each in clock.step():
            for claim_id in each.victims if isinstance(each, Preempt) else ():
                clock.end(claim_id)
                clock.events = [event for event in clock.events if event[2] != claim_id]
        clock.events.sort()
        if not clock.events and clock.decide():
            clock.events.sort()
    assert not len(clock.scheduler.occupancy)
