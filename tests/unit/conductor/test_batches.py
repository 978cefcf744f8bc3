"""How what starts is split into batches."""

from hypothesis import given
from hypothesis import strategies as st

from gpupool.allocator.plan import Plan
from gpupool.allocator.scheduling import Start
from gpupool.conductor.scheduling import batches


def start(number, host):
    return Start(claim_id=f"claim-{number}", plan=Plan(host=f"host-{host}", shares=()))


@given(st.lists(st.integers(0, 12), max_size=200))
def test_every_start_is_in_one_batch_and_every_host_too(hosts):
    starts = [start(number, host) for number, host in enumerate(hosts)]
    made = batches.split(starts)
    assert sorted(each.claim_id for batch in made for each in batch) == sorted(
        each.claim_id for each in starts
    )
    of_batch = [{each.plan.host for each in batch} for batch in made]
    assert sum(map(len, of_batch)) == len(set().union(*of_batch))
    assert all(made)


def test_few_are_one_batch_and_many_are_several():
    assert len(batches.split([start(number, number) for number in range(9)])) == 1
    assert [len(batch) for batch in batches.split([start(n, n) for n in range(30)])] == [10, 10, 10]
    assert len(batches.split([start(number, number) for number in range(200)])) == 7


def test_those_of_one_host_stay_together():
    assert [len(batch) for batch in batches.split([start(number, 0) for number in range(99)])] == [99]
