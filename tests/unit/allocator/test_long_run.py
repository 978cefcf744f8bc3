"""In the long run: projects that always wait get what their weights say, and old claims their turn."""

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpupool.allocator.fairshare import FairShare
from gpupool.allocator.scheduling import Preempt, QueueRules, Start
from tests.unit.allocator.queues import Clock, Job, demand, pool, waiting

# In percentage points.
TOLERANCE = 3.0
HALF_LIFE = 1000.0


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project that always has ``ahead`` claims waiting, all equal but for how long they run.

    They run for ``runs`` seconds; on average, if ``varied``.
    """

    weight: float
    count: int = 1
    compute: int = 100
    runs: float = 50.0
    varied: bool = False
    ahead: int = 2
    limits: bool = False
    preemptible: bool = False

    def job(self, name: str, claim_id: str, now: float, random: Random) -> Job:
        runs = 1 + random.expovariate(1 / self.runs) if self.varied else self.runs
        claim = waiting(
            claim_id,
            now,
            demand=demand(self.compute, self.count),
            project_id=name,
            time_limit=2 * runs if self.limits else None,
            preemptible=self.preemptible,
        )
        return Job(claim, runs)


@dataclass
class Saturated(Clock):
    """A pool and its queue; a new claim comes whenever one starts. ``had`` is device time by project."""

    projects: Mapping[str, Project] = field(default_factory=dict)
    looks: float = 0.0
    had: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._numbers, self._random = itertools.count(), Random(1)

    def pass_time(self, until: float) -> None:
        """Go on to ``until``."""
        self._refill()
        while self.now < until:
            self._advance(min([until, *(event[0] for event in self.events[:1])]))
            self._refill()

    def parts(self) -> dict[str, float]:
        """What each project has had, in percent of what all have had."""
        return {name: 100 * self.had[name] / self.had.total() for name in self.projects}

    def _advance(self, moment: float) -> None:
        if self.looks:
            moment = min(moment, self.now + self.looks)
        for name, rate in self.scheduler.occupancy.rates.items():
            self.had[name] += rate * (moment - self.now)
        if self.events and self.events[0][0] <= moment:
            decided = self.step()
        else:
            self.scheduler.charge(self.shares, self.now, moment)
            self.now = moment
            decided = self.decide()
        self._make_room(decided)

    def _make_room(self, decided: list[Start | Preempt]) -> None:
        victims = [victim for each in decided if isinstance(each, Preempt) for victim in each.victims]
        for victim in victims:
            self.events = sorted(event for event in self.events if event[2] != victim)
            self.end(victim)
            self.scheduler.wait(self.jobs[victim].claim)
        if victims:
            self._make_room(self.decide())

    def _refill(self) -> None:
        while True:
            waits = Counter(claim.project_id for claim in self.scheduler.line)
            lacking = [
                (name, each)
                for name, each in self.projects.items()
                for _ in range(each.ahead - waits[name])
            ]
            if not lacking:
                return
            for name, each in lacking:
                job = each.job(name, f"{name}-{next(self._numbers):06}", self.now, self._random)
                self.jobs[job.claim.claim_id] = job
                self.scheduler.wait(job.claim)
            self._make_room(self.decide())


def saturated(projects: Mapping[str, Project], devices: int = 8, **changes) -> Saturated:
    weights = {name: each.weight for name, each in projects.items()}
    values = {"half_life": HALF_LIFE, "hosts": 1, "rules": QueueRules(min_run_time=30.0), **changes}
    return Saturated(
        pool(values["hosts"], devices),
        values["rules"],
        FairShare(values["half_life"], weights),
        projects=projects,
        looks=values.get("looks", 0.0),
    )


def due(projects: Mapping[str, Project]) -> dict[str, float]:
    total = sum(each.weight for each in projects.values())
    return {name: 100 * each.weight / total for name, each in projects.items()}


def long_enough(projects: Mapping[str, Project], devices: int) -> float:
    """So long that the project whose claims are largest for its part gets some dozens of them.

    And several half-lives: with short claims those dozens end before parts come near to weights.
    """
    total = sum(each.weight for each in projects.values())
    # Durations that vary may be several times as long as most.
    longest = max(
        each.runs
        * (1 + 2 * each.varied)
        * max(each.count * each.compute / devices / 100, 0.3)
        * total
        / each.weight
        for each in projects.values()
    )
    return max(20 * longest, 8 * HALF_LIFE)


def check_parts(projects: Mapping[str, Project], devices: int = 8, **changes) -> Saturated:
    clock = saturated(projects, devices, **changes)
    clock.pass_time(long_enough(projects, devices))
    for name, part in due(projects).items():
        assert clock.parts()[name] == pytest.approx(part, abs=TOLERANCE), clock.parts()
    return clock


SMALL = Project(weight=3, varied=True)


@pytest.mark.parametrize(
    "gang",
    [
        Project(weight=1, count=2, runs=100),
        Project(weight=1, count=4, runs=100),
        Project(weight=1, count=6, runs=100, varied=True),
        Project(weight=1, count=8, runs=20),
        Project(weight=1, count=8, runs=100),
        Project(weight=1, count=8, runs=100, limits=True),
        Project(weight=1, count=8, runs=100, preemptible=True),
        # As long as a half-life: what it had is half forgotten before it ends.
        Project(weight=1, count=8, runs=1000),
    ],
)
def test_a_project_of_large_gangs_gets_its_part_beside_small_claims(gang):
    check_parts({"gangs": gang, "small": replace(SMALL, runs=gang.runs / 2)})


@pytest.mark.parametrize("devices", [6, 8])
def test_a_project_of_pairs_gets_its_part_beside_slices_that_never_leave_a_device_empty(devices):
    """Its claims waited for each other's devices only, and never came to more of them."""
    pairs = Project(weight=3, count=2, runs=100, varied=True)
    check_parts({"pairs": pairs, "slices": Project(weight=1, compute=30, varied=True)}, devices)


def test_no_more_devices_are_emptied_than_a_project_has_a_part_of():
    """A sixth was idle while room was kept for all that was owed; 3 % are for slices of 30 %."""
    pairs = Project(weight=3, count=2, runs=100, varied=True, ahead=4)
    slices = Project(weight=1, compute=30, varied=True, ahead=4)
    clock = check_parts({"pairs": pairs, "slices": slices}, 6)
    assert clock.had.total() / clock.now > 0.9 * 600


@pytest.mark.parametrize("ahead", [1, 4])
@pytest.mark.parametrize("reservations", [1, 3])
def test_it_does_for_any_number_of_claims_that_wait_or_have_room_kept(ahead, reservations):
    """Room that is kept for a gang beyond its part was never given back: it was always kept."""
    projects = {
        "gangs": Project(weight=1, count=8, runs=100, ahead=ahead),
        "small": Project(weight=3, varied=True, ahead=ahead),
    }
    check_parts(projects, rules=QueueRules(reservations=reservations))


def test_it_does_when_claims_that_make_room_are_of_it():
    projects = {
        "gangs": Project(weight=1, count=8, runs=100, preemptible=True),
        "small": Project(weight=3, varied=True, preemptible=True),
    }
    check_parts(projects, looks=10.0)


def test_days_long_gangs_get_no_more_by_the_half_life_that_is_configured():
    day = 86400.0
    projects = {
        "gangs": Project(weight=1, count=8, runs=2 * day),
        "small": Project(weight=3, runs=day / 2, varied=True),
    }
    check_parts(projects, half_life=7 * day)


@st.composite
def many_projects(draw):
    return {
        f"project-{number}": Project(
            weight=draw(st.sampled_from((1.0, 2.0, 3.0))),
            count=draw(st.integers(1, 6)),
            compute=draw(st.sampled_from((100, 100, 60, 50))),
            runs=draw(st.floats(20, 200)),
            varied=draw(st.booleans()),
            ahead=draw(st.integers(1, 3)),
            limits=draw(st.booleans()),
        )
        for number in range(draw(st.integers(2, 4)))
    }


@settings(max_examples=6, deadline=None)
@given(many_projects())
def test_any_projects_get_their_parts_whatever_they_ask_for(projects):
    check_parts(projects, devices=6)


def test_parts_follow_weights_that_change():
    projects = {"gangs": Project(weight=1, count=8, runs=100), "small": SMALL}
    clock = check_parts(projects)
    kept = clock.shares.usages()
    clock.shares = FairShare(HALF_LIFE, {"gangs": 3.0, "small": 1.0})
    clock.shares.restore(kept)
    # Until what was due by the old weights is forgotten.
    clock.pass_time(clock.now + 6 * HALF_LIFE)
    clock.had.clear()
    clock.pass_time(clock.now + 5000)
    assert clock.parts()["gangs"] == pytest.approx(75, abs=TOLERANCE)


def test_who_comes_back_gets_its_part_again_after_a_while():
    """Not all of the pool for as long as it was away, which was twenty half-lives."""
    gangs = Project(weight=1, count=8, runs=100)
    clock = saturated({"gangs": gangs})
    clock.pass_time(20 * HALF_LIFE)
    clock.projects = {"gangs": gangs, "small": SMALL}
    clock.shares = _weighed(clock.shares, {"small": 3.0})
    clock.pass_time(clock.now + 5 * HALF_LIFE)
    clock.had.clear()
    clock.pass_time(clock.now + 6000)
    assert clock.parts()["gangs"] == pytest.approx(25, abs=TOLERANCE)


def _weighed(shares: FairShare, weights: dict[str, float]) -> FairShare:
    other = FairShare(HALF_LIFE, weights)
    other.restore(shares.usages())
    return other


# Ageing.


def overtaken(ageing: float, old: Project, new: Project, seconds: float, priority: int = 10):
    """An old claim of low priority under an endless stream of its project's newer ones."""
    clock = saturated({"project": new}, rules=QueueRules(ageing=ageing))
    clock.pass_time(100.0)
    job = old.job("project", "old", clock.now, Random(0))
    claim = waiting("old", clock.now, demand=job.claim.demand, priority=priority, project_id="project")
    clock.jobs["old"] = Job(claim, job.runs)
    clock.scheduler.wait(claim)
    clock.pass_time(clock.now + seconds)
    return clock


@settings(max_examples=10, deadline=None)
@given(
    st.builds(Project, weight=st.just(1.0), count=st.integers(1, 8), compute=st.sampled_from((100, 50))),
    st.builds(
        Project,
        weight=st.just(1.0),
        count=st.integers(1, 4),
        compute=st.sampled_from((100, 60, 50, 30)),
        varied=st.booleans(),
        limits=st.booleans(),
    ),
)
def test_an_old_claim_gets_its_turn_whatever_its_project_sends_after_it(old, new):
    clock = overtaken(500.0, old, new, 1500.0)
    assert clock.started["old"] < 1500


def test_without_ageing_newer_claims_of_higher_priority_go_first_for_ever():
    clock = overtaken(0.0, Project(weight=1, count=8), SMALL, 3000.0)
    assert "old" not in clock.started


def test_a_claim_that_has_not_waited_long_enough_is_passed():
    clock = overtaken(500.0, Project(weight=1, count=8), SMALL, 499.0)
    assert "old" not in clock.started
