"""Nobody is given memory with what somebody else left in it."""

import os

import pytest

from gpupool.dataplane import handshake
from testbed.local_agent import Vgpu

CLEARING = {"GPUPOOL_CLEAR_MEMORY": "1"}


@pytest.mark.parametrize("end", ["exit", "kill the program", "kill the worker"])
def test_the_next_tenant_of_a_device_finds_zeros(agent, start, run, end):
    before = agent(Vgpu(100, 64))
    program = start(before, "dirty")
    (worker,) = before.workers
    if end == "exit":
        program.communicate("go\n", timeout=60)
    elif end == "kill the program":
        program.kill()
    else:
        worker.kill()
    worker.wait(20)
    seen = run(agent(Vgpu(100, 64)), "residue")
    assert (seen["device"], seen["pinned"]) == (0, 0)


def test_tenants_of_a_device_at_the_same_time_find_zeros(agent, start, run):
    start(agent(Vgpu(50, 64)), "dirty")
    seen = run(agent(Vgpu(50, 64)), "residue")
    assert (seen["device"], seen["pinned"]) == (0, 0)


def test_memory_of_before_is_there_unless_the_worker_clears_it(agent, run):
    """What the next test is about."""
    assert run(agent(Vgpu(100, 64), environment={"REFCUDA_MEMORY_MIB": "1"}), "recycled")["not_zero"]


@pytest.mark.parametrize("compute", [100, 50])
def test_a_worker_clears_what_it_allocates_before_anything_can_use_it(agent, run, compute):
    serving = agent(Vgpu(compute, 64), environment=CLEARING | {"REFCUDA_MEMORY_MIB": "1"})
    assert run(serving, "recycled")["not_zero"] == 0


def test_clearing_is_charged(agent, run):
    serving = agent(Vgpu(100, 64), environment=CLEARING)
    run(serving, "until_memory_is_held")
    serving.workers[0].wait(20)
    assert serving.ledgers[0].usage(0).busy_ns > 0


def test_memory_works_as_ever_when_it_is_cleared(agent, run):
    assert all(run(agent(Vgpu(50, 64), environment=CLEARING), "copies")[size] for size in ("1", "4081"))
    assert run(agent(Vgpu(100, 64), environment=CLEARING), "memory")["none_left"] == 0


def test_each_session_has_shared_memory_of_its_own_full_of_zeros():
    first, second = handshake.make_ring(8), handshake.make_ring(8)
    try:
        os.pwrite(first, b"\xa5" * (8 << 20), 0)
        assert os.pread(second, 8 << 20, 0) == bytes(8 << 20)
    finally:
        os.close(first)
        os.close(second)
