"""Pauses after failures."""

import pytest

from gpupool.model import backoff


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0.5), (1, 1), (2, 2), (3, 4), (4, 5), (1000, 5), (10**9, 5)]
)
def test_pauses_double_up_to_the_longest(failures, seconds):
    assert backoff.after(0.5, 5, failures) == seconds
