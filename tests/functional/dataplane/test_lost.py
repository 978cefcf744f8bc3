"""A worker dies under its program: that program alone notices, at once and in every call."""

import json

import pytest

from testbed.local_agent import Vgpu

LOST = "CUDA_ERROR_DEVICE_UNAVAILABLE"


@pytest.mark.parametrize("name", ["until_lost", "blocked"])
def test_the_program_is_told(agent, start, name):
    serving = agent()
    program = start(serving, name)
    serving.workers[0].kill()
    output, log = program.communicate(timeout=20)
    seen = json.loads(output)
    assert seen["errors"] == [LOST]
    assert log.count("device 0 is lost") == 1
    assert program.returncode == 0


def test_other_programs_go_on(agent, start):
    serving = agent(Vgpu(50, 64))
    victim, other = start(serving, "until_lost"), start(serving, "idle")
    serving.workers[0].kill()
    assert json.loads(victim.communicate(timeout=20)[0])["errors"] == [LOST]
    output, log = other.communicate("go on\n", timeout=20)
    assert json.loads(output) == {"right": True}
    assert "lost" not in log


def test_an_idle_program_exits_cleanly_after_a_loss(agent, start):
    serving = agent()
    program = start(serving, "idle")
    serving.workers[0].kill()
    serving.workers[0].wait()
    _, log = program.communicate("go on\n", timeout=20)
    assert LOST in log
    assert program.returncode == 1


def test_the_worker_ends_when_its_program_is_killed(agent, start):
    serving = agent()
    program = start(serving, "blocked")
    program.kill()
    program.wait()
    assert serving.workers[0].wait(10) == 0
