"""What the sessions of a vGPU may take of their host: bounded whatever they are, and enough for each."""

import pytest

from gpupool.agent import host_memory


def rings(sessions, shared, most=256):
    taken = []
    for _ in range(sessions):
        taken.append(host_memory.ring_mib(taken, shared, most))
    return taken


@pytest.mark.parametrize("shared", [64, 100, 2048])
@pytest.mark.parametrize("sessions", [1, 16, 64, 1024])
def test_rings_leave_room_for_all_and_half_of_what_is_shared(sessions, shared):
    taken = rings(sessions, shared)
    assert min(taken) >= host_memory.RING_MIN_MIB
    assert sum(taken) <= sessions * host_memory.RING_MIN_MIB + shared // 2
    assert taken == sorted(taken, reverse=True)


def test_the_first_ring_is_large():
    assert rings(3, 2048) == [256, 256, 256]
    assert rings(5, 256) == [72, 40, 24, 16, 12]
    assert rings(2, 64) == [24, 16]
    assert rings(1, 2048, most=8) == [8]


def test_a_ring_that_was_given_back_is_given_again():
    taken = rings(4, 256)
    assert host_memory.ring_mib(taken[1:], 256, 256) == 8 + (128 - 32 - 16 - 8) // 2


@pytest.mark.parametrize(
    ("memory_mib", "limit"), [(1, 256 + 64), (100, 256 + 200), (1024, 256 + 2048), (80000, 256 + 2048)]
)
def test_the_limit_follows_the_claim(memory_mib, limit):
    assert host_memory.limit_mib(16, memory_mib, 2048) == limit
