"""Programs call from threads whose stacks are as small as the system allows."""

import subprocess

import pytest

from gpupool.dataplane import build, c_flags
from testbed.local_agent import Vgpu
from tests.functional.dataplane.conftest import HERE


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    made = tmp_path_factory.mktemp("small_stack") / "small_stack"
    command = ["gcc", *c_flags.compile_flags(), f"-I{build.NATIVE}"]
    subprocess.run([*command, HERE / "small_stack.c", "-o", made, "-ldl"], check=True)
    return made


# In KiB; 0: the least there may be, 16 KiB on most systems.
@pytest.mark.parametrize("stack", [0, 24, 48, 64, 96, 160])
@pytest.mark.parametrize("where", ["gpupool", "direct"])
def test_calls_from_a_small_stack(agent, native, kernels, program, where, stack):
    environment = agent(Vgpu(100, 64), Vgpu(100, 64, ordinal=1), environment={"REFCUDA_DEVICES": "2"})
    variables = environment.program_environment()
    if where == "direct":
        variables |= {"LD_LIBRARY_PATH": str(native / "refcuda"), "REFCUDA_DEVICES": "2"}
    done = subprocess.run(
        [program, kernels, str(stack)],
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["0"] * 8), done.stderr
