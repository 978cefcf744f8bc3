"""What a bench makes of its records; nothing is measured."""

import pytest

from bench.claims import summary
from bench.claims.load import Record


def records(*seen_bound):
    return [
        Record(id=str(number), project="p", sizes=(1, 10, 1024), due=0.0, bound=at)
        for number, at in enumerate(seen_bound)
    ]


def test_the_steady_rate_leaves_out_the_beginning_and_the_end():
    found = summary.claims(records(0.5, *(1 + 0.1 * n for n in range(9)), 9.0), offered=10)
    assert (found["bound"], found["claims_per_s"]) == (11, pytest.approx(11 / 9, abs=0.05))
    assert found["steady_claims_per_s"] == pytest.approx(10)


@pytest.mark.parametrize("seen", [(), (2.0,), (2.0, 2.0), (1.0, *[2.0] * 9, 3.0)])
def test_claims_seen_bound_at_one_moment_have_no_steady_rate(seen):
    found = summary.claims(records(*seen), offered=10)
    assert found["bound"] == len(seen)
    assert "steady_claims_per_s" not in found
