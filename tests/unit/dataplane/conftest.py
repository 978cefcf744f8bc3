"""C probes, built with the sanitizers."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gpupool.dataplane import build, c_flags
from gpupool.dataplane.generator.write import write

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def compile_probe(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Return a function that builds a probe together with native/wire and what the API table yields."""
    folder = tmp_path_factory.mktemp("probes")
    write(folder / "generated")

    def compile_probe(source: str, sanitize: str = "address,undefined") -> Path:
        made = folder / f"{source}-{sanitize}"
        sources = [HERE / source, *sorted((build.NATIVE / "wire").glob("*.c"))]
        command = ["gcc", *c_flags.compile_flags(sanitize), "-fno-sanitize-recover=all"]
        command += [f"-I{build.NATIVE}", f"-I{folder / 'generated'}"]
        subprocess.run([*command, *sources, "-o", made], check=True)
        return made

    return compile_probe
