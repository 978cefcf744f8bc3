"""A program gets the same from gpupool as from the device's own library, whatever it calls."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpupool.dataplane.api.cuda.table import CALLS
from testbed.local_agent import Vgpu
from tests.functional.dataplane.random_calls import BY_KEY, LEFT_OUT

REPOSITORY = Path(__file__).parents[3]
COUNT = 700


def trace(seed, kernels, environment):
    """Return what each call returned and wrote."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.functional.dataplane.random_calls",
            str(seed),
            str(COUNT),
            kernels,
        ],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.seeds(3)
def test_random_calls_do_the_same_with_and_without_gpupool(agent, native, kernels, seed):
    directly = trace(seed, kernels, {**os.environ, "LD_LIBRARY_PATH": str(native / "refcuda")})
    through = trace(seed, kernels, agent(Vgpu(100, 4096)).program_environment())
    for number, (wanted, got) in enumerate(zip(directly, through, strict=True)):
        assert got == wanted, f"call {number}"
    called = {line[0] for line in through if line[1:2] == [0]}
    assert len(called) > 100


def test_only_calls_that_no_random_order_can_have_are_left_out():
    assert {call.key for call in CALLS if call.reference} == BY_KEY.keys()
    assert LEFT_OUT.keys() <= {call.key for call in CALLS}
