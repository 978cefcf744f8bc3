"""Whose turn it is."""

from hypothesis import given
from hypothesis import strategies as st

from gpupool.allocator.order import Line
from tests.unit.allocator.queues import FEW, demand, waiting

KINDS = (demand(), demand(50), demand(30, 2))


@st.composite
def claims(draw):
    return [
        waiting(
            f"claim-{number:02}",
            float(draw(st.integers(0, 5))),
            project_id=draw(st.sampled_from("abc")),
            priority=draw(st.sampled_from((10, 50, 90))),
            demand=draw(st.sampled_from(KINDS)),
            time_limit=draw(st.sampled_from((None, 5.0, 10.0))),
        )
        for number in range(draw(st.integers(0, 14)))
    ]


def lined_up(each) -> Line:
    line = Line()
    for claim in each:
        line.add(claim)
    return line


def ranked(left, standing, first=()):
    """The claim whose turn it is, said in plain words."""
    return min(
        left,
        key=lambda claim: (
            -claim.priority,
            first.index(claim.claim_id) if claim.claim_id in first else len(first),
            standing[claim.project_id],
            claim.created_at,
            claim.claim_id,
        ),
    )


@FEW
@given(claims(), st.randoms(), st.data())
def test_walks_go_by_priority_standing_age_and_id(each, random, data):
    standing = dict(zip("abc", data.draw(st.permutations((1, 2, 2))), strict=True))
    line = lined_up(random.sample(each, len(each)))
    first = data.draw(
        st.lists(st.sampled_from([claim.claim_id for claim in each] or ["-"]), unique=True)
    )
    left = list(each)
    for claim in line.walk(standing.__getitem__, first):
        assert claim == ranked(left, standing, first)
        left.remove(claim)
        # Some get a place, and their projects have had more of their part then.
        standing[claim.project_id] += data.draw(st.sampled_from((0, 0, 3)))
    assert not left


@FEW
@given(claims(), st.data())
def test_dropped_kinds_are_left_out_and_no_others(each, data):
    line, dropped, visited = lined_up(each), set(), []

    def key(claim):
        return claim.demand, claim.project_id, claim.priority

    walk = line.walk(lambda _: 0.0)
    for claim in walk:
        assert key(claim) not in dropped
        limits = [other.time_limit or float("inf") for other in each if key(other) == key(claim)]
        assert walk.shortest == min(limits)
        visited.append(claim)
        if data.draw(st.booleans()):
            walk.drop()
            dropped.add(key(claim))
    assert {key(claim) for claim in each} == {key(claim) for claim in visited}
    assert [claim for claim in each if key(claim) not in dropped and claim not in visited] == []


@FEW
@given(claims(), st.data())
def test_removed_claims_wait_no_longer(each, data):
    line = lined_up(each)
    gone = data.draw(st.sets(st.sampled_from([claim.claim_id for claim in each] or ["-"])))
    for claim_id in (*gone, "unknown"):
        line.remove(claim_id)
    left = [claim for claim in each if claim.claim_id not in gone]
    assert list(line.walk(lambda _: 0.0)) == list(lined_up(left).walk(lambda _: 0.0))
    assert len(line) == len(left)
    assert line.projects() == {claim.project_id for claim in left}
    assert all((claim.claim_id in line) == (claim.claim_id not in gone) for claim in each)


def test_a_claim_added_again_takes_its_new_place():
    line = lined_up([waiting("a", 1.0), waiting("b", 2.0)])
    line.add(waiting("a", 3.0))
    assert [claim.claim_id for claim in line.walk(lambda _: 0.0)] == ["b", "a"]


def test_shortest_follows_what_is_removed():
    line = lined_up([waiting("a", time_limit=5.0), waiting("b", time_limit=9.0), waiting("c")])
    shortest = []
    for claim_id in ("a", "b", "c"):
        walk = line.walk(lambda _: 0.0)
        next(iter(walk))
        shortest.append(walk.shortest)
        line.remove(claim_id)
    assert shortest == [5.0, 9.0, float("inf")]


def test_an_old_claim_is_raised_to_the_level_of_younger_ones_of_its_project_only():
    line = lined_up(
        [
            waiting("old", 0.0, project_id="a", priority=10),
            waiting("older-but-high", -1.0, project_id="a", priority=90),
            waiting("young", 5.0, project_id="a", priority=50),
            waiting("others", 6.0, project_id="b", priority=90),
        ]
    )
    line.age(-0.5)
    assert line.level("old") == 10
    line.age(0.0)
    assert [line.level(each) for each in ("old", "older-but-high", "young", "others")] == [
        50,
        90,
        50,
        90,
    ]
    assert [claim.claim_id for claim in line.walk(lambda _: 0.0)] == [
        "older-but-high",
        "others",
        "old",
        "young",
    ]
    line.remove("young")
    line.age(0.0)
    assert line.level("old") == 10


def test_a_young_claim_above_the_default_priority_raises_no_old_one_past_others():
    line = lined_up(
        [
            waiting("old", 0.0, project_id="a", priority=10),
            waiting("high", 5.0, project_id="a", priority=90),
            waiting("others", 6.0, project_id="b", priority=50),
        ]
    )
    line.age(0.0)
    assert [claim.claim_id for claim in line.walk(lambda _: 0.0)] == ["high", "others", "old"]
    line.add(waiting("young", 7.0, project_id="a", priority=30))
    line.age(0.0)
    assert line.level("old") == 30


@FEW
@given(claims(), st.floats(0, 5))
def test_ageing_loses_no_claim_and_raises_one_of_a_kind(each, before):
    line = lined_up(each)
    line.age(before)
    assert sorted(claim.claim_id for claim in line.walk(lambda _: 0.0)) == sorted(
        claim.claim_id for claim in each
    )
    raised = [claim for claim in each if line.level(claim.claim_id) != claim.priority]
    assert len({(claim.project_id, claim.demand) for claim in raised}) == len(raised)
    for claim in raised:
        assert claim.created_at <= before
        assert line.level(claim.claim_id) <= 50
        assert any(
            other.project_id == claim.project_id
            and other.priority == line.level(claim.claim_id)
            and (other.created_at, other.claim_id) > (claim.created_at, claim.claim_id)
            for other in each
        )
    line.age(-1.0)
    assert all(line.level(claim.claim_id) == claim.priority for claim in each)
