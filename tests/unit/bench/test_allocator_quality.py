"""What the bench of the allocator measures, on few hosts; no time is looked at."""

from bench import allocator_quality
from gpupool.replay import openb_run


def test_the_pool_of_many_kinds_is_filled_and_timed() -> None:
    filling = allocator_quality.many_kinds(1, hosts=20)
    found = openb_run.values(filling)
    full = found["unallocated_at_100"]
    assert full is not None
    assert 0 < full < 20
    assert len(filling.decisions) == len(filling.processor) > allocator_quality.KINDS
    for line in allocator_quality.times(found):
        assert "p50" in line
        assert "longest" in line
    assert len(list(allocator_quality.lines(allocator_quality.MANY, found))) == 3
