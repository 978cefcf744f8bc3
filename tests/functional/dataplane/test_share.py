"""What a claim is charged with is what its programs used: device time and memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpupool.dataplane import paths
from testbed.local_agent import Vgpu

HERE = Path(__file__).parent
MIB = 1 << 20
SUCCESS = "CUDA_SUCCESS"
OUT_OF_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"


def _compile(folder, name, *flags):
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", *flags]
    image = folder / f"{name}.so"
    source = HERE / "share.c"
    subprocess.run([*command, f"-I{paths.REFERENCE_INCLUDE}", source, "-o", image], check=True)
    return image


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return _compile(tmp_path_factory.mktemp("share"), "small")


@pytest.fixture
def start(image):
    started = []

    def start(serving, name, used=image):
        program = subprocess.Popen(
            [sys.executable, HERE / "programs" / "share.py", name, used],
            env=serving.program_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        return program

    yield start
    for program in started:
        program.kill()
        program.communicate()


@pytest.fixture
def answer(start):
    def answer(*arguments):
        program = start(*arguments)
        output, _ = program.communicate(timeout=60)
        assert program.returncode == 0
        return json.loads(output)

    return answer


def _busy_ns(serving):
    return sum(usage.busy_ns for usage in serving.ledgers[0].usages())


def _union(runs):
    total, until = 0, 0
    for start, end in sorted(runs):
        total += max(0, end - max(start, until))
        until = max(until, end)
    return total


@pytest.mark.parametrize("programs", [1, 2])
def test_a_quarter_is_a_quarter_however_many_programs_share_it(agent, start, programs):
    serving = agent(Vgpu(25, 64))
    started = [start(serving, "equal_kernels") for _ in range(programs)]
    for program in started:
        assert program.stdout.readline() == "working\n"
    before = _busy_ns(serving)
    for program in started:
        program.stdin.write("go\n")
        program.stdin.flush()
    seen = [json.loads(program.communicate(timeout=60)[0]) for program in started]
    for worker in serving.workers:
        worker.wait(20)
    charged = _busy_ns(serving) - before
    wall = 1e9 * (max(one["ended"] for one in seen) - min(one["begun"] for one in seen))
    busy = _union([run for one in seen for run in one["runs"]])
    assert all(one["runs"] for one in seen)
    assert 0.95 < charged / busy < 1.5
    assert 0.12 < busy / wall < 0.36


def test_work_in_flight_when_a_program_ends_is_charged(agent, start):
    serving = agent(Vgpu(25, 64))
    assert start(serving, "exit_with_work_in_flight").wait(30) == 0
    serving.workers[0].wait(20)
    assert _busy_ns(serving) > 350_000_000


def test_the_whole_device_is_measured_whatever_is_in_flight(agent, answer):
    serving = agent(Vgpu(100, 64))
    busy = _union(answer(serving, "many_spans")["runs"])
    serving.workers[0].wait(20)
    assert _busy_ns(serving) > 0.9 * busy


def test_narrow_rows_are_charged_as_the_device_lays_them_out(agent, answer):
    seen = answer(agent(Vgpu(100, 64)), "narrow_rows")
    assert seen["taken"] == seen["pitch"] > 1
    assert seen["beyond"] == OUT_OF_MEMORY


def test_a_byte_takes_what_a_device_rounds_it_up_to(agent, answer):
    assert answer(agent(Vgpu(100, 64)), "one_byte")["taken"] == 512


def test_the_memory_of_a_module_is_the_claims(agent, answer, image):
    seen = answer(agent(Vgpu(100, 64)), "module", image)
    assert seen["error"] == SUCCESS
    assert MIB < seen["taken"] < 2 * MIB
    assert seen["left"] == 0


def test_a_module_that_the_claim_does_not_hold_is_refused(agent, answer, tmp_path):
    serving = agent(Vgpu(100, 64))
    seen = answer(serving, "module", _compile(tmp_path, "big", "-DBIG"))
    assert seen == {"error": OUT_OF_MEMORY, "taken": 0, "left": 0}


def test_an_earlier_error_spoils_one_load_only(agent, answer):
    errors = answer(agent(Vgpu(100, 64)), "load_after_an_error")["errors"]
    assert errors[0] != SUCCESS
    assert errors[1:] == [SUCCESS, SUCCESS]


def test_a_wait_waits_though_it_has_an_error_to_tell(agent, answer):
    seen = answer(agent(Vgpu(100, 64)), "wait_after_an_error")
    assert seen["error"] != SUCCESS
    assert seen["after"] == SUCCESS
