"""When a claim ends by itself: the sooner of its lease and its time limit."""

from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest

from gpupool.conductor.claims import leases
from gpupool.model import errors

NOW = datetime(2026, 1, 1)
HOUR = timedelta(hours=1)


def claim(time_limit=3600, lease_end=None, bound_at=NOW):
    return SimpleNamespace(time_limit=time_limit, lease_end=lease_end, bound_at=bound_at)


@pytest.mark.parametrize(
    ("lease_end", "ends"),
    [(None, NOW + HOUR), (NOW + HOUR / 2, NOW + HOUR / 2), (NOW + 2 * HOUR, NOW + HOUR)],
)
def test_a_bound_claim_ends_by_the_sooner_and_keeps_what_was_asked(lease_end, ends):
    changes = leases.at_bound(claim(lease_end=lease_end), NOW)
    assert changes == {"lease_end": ends, "asked_lease_end": lease_end}


def test_a_claim_without_a_limit_keeps_its_lease_when_it_is_bound():
    assert leases.at_bound(claim(time_limit=None, lease_end=NOW), NOW) == {}


@pytest.mark.parametrize(("time_limit", "bound_at"), [(None, NOW), (3600, None)])
def test_any_lease_may_be_asked_while_no_limit_runs(time_limit, bound_at):
    changes = leases.asked(claim(time_limit, bound_at=bound_at), NOW + 5 * HOUR)
    assert changes == {"lease_end": NOW + 5 * HOUR}


@pytest.mark.parametrize(
    ("lease_end", "ends"),
    [(None, NOW + HOUR), (NOW + HOUR / 2, NOW + HOUR / 2), (NOW + HOUR, NOW + HOUR)],
)
def test_a_lease_within_the_limit_may_be_asked(lease_end, ends):
    changes = leases.asked(claim(), lease_end)
    assert changes == {"lease_end": ends, "asked_lease_end": lease_end}


def test_a_lease_beyond_the_limit_is_refused_with_what_is_allowed():
    with pytest.raises(errors.Conflict) as caught:
        leases.asked(claim(), NOW + 2 * HOUR)
    assert caught.value.message == (
        "lease_end is 2026-01-01 02:00:00; allowed: to 2026-01-01 01:00:00, "
        "for the claim's time limit of 3600 s ends it then"
    )
