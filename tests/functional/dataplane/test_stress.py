"""The runtime itself under the sanitizers: random calls of several threads, each checked."""

import subprocess
import sys

import pytest

from gpupool.dataplane import build, c_flags, paths
from testbed.local_agent import LocalAgent, Vgpu
from tests.functional.dataplane.conftest import HERE

# The same program tests the reference device without gpupool.
REFERENCE = HERE.parents[1] / "unit" / "refcuda" / "native"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stress")
    subprocess.run([sys.executable, build.HERE / "generator" / "write.py", folder], check=True)

    def compile_with_runtime(source, sanitize):
        made = folder / f"{source.stem}-{sanitize}"
        if made.exists():
            return made
        sources = build.sources("runtime/libcuda.so.1")
        command = ["gcc", *c_flags.compile_flags(sanitize), "-fno-sanitize-recover=all"]
        include = [f"-I{build.NATIVE}", f"-I{folder}"]
        subprocess.run([*command, *include, *sources, source, "-o", made], check=True)
        return made

    return compile_with_runtime


def _run(program, agent, *arguments):
    return subprocess.run(
        [program, *arguments],
        env=agent.program_environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("sanitize", ["address,undefined", "thread"])
@pytest.mark.parametrize("ring_mib", [8, 32])
@pytest.mark.seeds(1)
def test_random_calls_of_several_threads(native, kernels, compiled, sanitize, ring_mib, seed):
    stress = compiled(HERE / "stress.c", sanitize)
    with LocalAgent(native, (Vgpu(100, 64),), ring_mib=ring_mib) as agent:
        done = _run(stress, agent, str(seed), "6", "60", kernels)
        assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
        assert agent.workers[0].wait(10) == 0
        assert agent.workers[0].left.memory_mib == 0


@pytest.mark.parametrize("sanitize", ["address,undefined", "thread"])
def test_one_thread_ends_what_others_use(tmp_path, native, compiled, sanitize):
    image = tmp_path / "kernels.so"
    flags = ["-O2", "-shared", "-fPIC", f"-I{paths.REFERENCE_INCLUDE}"]
    subprocess.run(["gcc", *flags, REFERENCE / "kernels.c", "-o", image], check=True)
    ends = compiled(REFERENCE / "ends.c", sanitize)
    with LocalAgent(native, (Vgpu(100, 64),)) as agent:
        done = _run(ends, agent, image)
        assert done.returncode == 0, done.stderr[-6000:]
        assert agent.workers[0].wait(10) == 0
        assert agent.workers[0].left.memory_mib == 0
