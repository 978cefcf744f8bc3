"""The runtime itself under the sanitizers: random calls of several threads, each checked."""

import subprocess
import sys

import pytest

from gpupool.dataplane import build
from tests.functional.dataplane.conftest import HERE
from tests.functional.dataplane.local_agent import LocalAgent, Vgpu


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stress")
    subprocess.run([sys.executable, build.HERE / "generator.py", folder], check=True)

    def compile_stress(sanitize):
        made = folder / f"stress-{sanitize}"
        sources = [path for part in ("runtime", "wire") for path in (build.NATIVE / part).glob("*.c")]
        command = ["gcc", *build.CFLAGS, f"-fsanitize={sanitize}", "-fno-sanitize-recover=all"]
        include = [f"-I{build.NATIVE}", f"-I{folder}"]
        subprocess.run([*command, *include, *sources, HERE / "stress.c", "-o", made], check=True)
        return made

    return compile_stress


@pytest.mark.parametrize("sanitize", ["address,undefined", "thread"])
@pytest.mark.parametrize("ring_mib", [4, 32])
def test_random_calls_of_several_threads(tmp_path, native, kernels, compiled, sanitize, ring_mib):
    stress = compiled(sanitize)
    with LocalAgent(tmp_path, native, (Vgpu(100, 64),), ring_mib=ring_mib) as agent:
        done = subprocess.run(
            [stress, "1", "6", "60", kernels],
            env=agent.program_environment(),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
        assert agent.workers[0].wait(10) == 0
        assert agent.ledgers[0].usage(0).memory_mib == 0
