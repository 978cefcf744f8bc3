"""C probes, built with the sanitizers."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gpupool.dataplane import build

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def compile_probe(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Return a function that builds a probe together with native/wire."""
    folder = tmp_path_factory.mktemp("probes")

    def compile_probe(source: str, sanitize: str = "address,undefined") -> Path:
        made = folder / f"{source}-{sanitize}"
        sources = [HERE / source, *sorted((build.NATIVE / "wire").glob("*.c"))]
        command = ["gcc", *build.compile_flags(sanitize), "-fno-sanitize-recover=all"]
        subprocess.run([*command, f"-I{build.NATIVE}", *sources, "-o", made], check=True)
        return made

    return compile_probe
