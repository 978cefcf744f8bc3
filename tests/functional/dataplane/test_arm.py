"""The runtime for 64-bit Arm: any cross compiler that is here builds it, and it runs in an emulator."""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gpupool.dataplane import build, c_flags, libc_needs
from testbed.local_agent import Vgpu
from tests.functional.dataplane.conftest import HERE

GCC = "aarch64-linux-gnu-gcc"
EMULATOR = "qemu-aarch64"
LIBC = Path("/usr/aarch64-linux-gnu")


@pytest.fixture(scope="module")
def compiler():
    if shutil.which(GCC):
        return GCC
    if importlib.util.find_spec("ziglang"):
        return f"{sys.executable} -m ziglang cc -target aarch64-linux-gnu.{c_flags.OLDEST_GLIBC}"
    pytest.skip(f"neither {GCC} (Debian: gcc-aarch64-linux-gnu) nor ziglang (PyPI) is installed")


@pytest.fixture(scope="module")
def runtime(compiler, tmp_path_factory):
    """Build the runtime as a person does; return its path."""
    folder = tmp_path_factory.mktemp("arm")
    command = [sys.executable, build.__file__, "--only", "runtime/libcuda.so.1", "--output", folder]
    subprocess.run(command, env=os.environ | {"CC": compiler}, check=True)
    return folder / "runtime" / "libcuda.so.1"


@pytest.mark.timeout(600)
def test_it_loads_with_an_old_glibc(runtime):
    needs = libc_needs.read(runtime)
    assert needs.machine == 183
    assert needs.newest == "GLIBC_2.17"
    assert "libpthread.so.0" in needs.libraries


@pytest.mark.timeout(600)
def test_a_program_uses_its_vgpus(runtime, compiler, agent, kernels, tmp_path):
    """Worker and kernels are this machine's. Only the program is emulated, where it can't fork."""
    if not shutil.which(EMULATOR) or not LIBC.exists():
        pytest.skip(f"{EMULATOR} or {LIBC} is missing (Debian: qemu-user, libc6-arm64-cross)")
    made = tmp_path / "small_stack"
    source = [HERE / "small_stack.c", f"-I{build.NATIVE}", "-O2", "-D_GNU_SOURCE", "-pthread"]
    subprocess.run([*shlex.split(compiler), *source, "-o", made, "-ldl"], check=True)
    serving = agent(Vgpu(100, 64), Vgpu(100, 64, ordinal=1), environment={"REFCUDA_DEVICES": "2"})
    variables = serving.program_environment() | {"LD_LIBRARY_PATH": str(runtime.parent)}
    command = [EMULATOR, "-L", LIBC, made, kernels, "160"]
    done = subprocess.run(
        command, env=variables, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, ["0"] * 8), done.stderr
