"""Containers with other C libraries than the host's find the runtime, load it and use their vGPU."""

import os
import shutil
from pathlib import Path

import pytest

from gpupool.agent import cdi
from tests.functional.agent.conftest import host  # noqa: F401 a fixture
from tests.functional.dataplane import test_c_libraries as programs
from tests.integration.test_podman import engine, new_root, pytestmark, wanted  # noqa: F401 fixtures

MUSL = Path("/lib/ld-musl-x86_64.so.1")


def with_musl(root: Path) -> Path:
    """Make an image's root that has nothing but musl; return where the runtime is found."""
    if not MUSL.exists():
        pytest.skip(f"{MUSL} is not there (Debian: musl)")
    new_root(root, "lib")
    shutil.copy(MUSL, root / "lib")
    return Path("/usr/lib/libcuda.so.1")


def with_old_glibc(root: Path) -> Path:
    """Make an image's root that has nothing but an old glibc, in folders of Enterprise Linux."""
    if programs.OLD_GLIBC not in os.environ:
        pytest.skip(f"{programs.OLD_GLIBC} names no folder with an old glibc")
    libraries = Path(os.environ[programs.OLD_GLIBC])
    new_root(root, "lib64", "usr/lib64")
    for name in ("ld-linux-x86-64.so.2", "libc.so.6", "libdl.so.2", "libpthread.so.0"):
        shutil.copy(libraries / name, root / "lib64")
    return Path("/usr/lib64/libcuda.so.1")


@pytest.mark.parametrize("image", [with_musl, with_old_glibc])
def test_an_image_uses_its_vgpu(tmp_path, engine, wanted, image):  # noqa: F811
    root = tmp_path / "root"
    runtime = image(root)
    programs.portable(programs.HERE / "forking.c", root / "program")
    output, error = engine(root, wanted, "/program").communicate(timeout=60)
    assert output == "used\n", error
    doctor = engine(root, wanted, cdi.CONTAINER_DOCTOR)
    output, error = doctor.communicate(timeout=60)
    assert (doctor.returncode, error) == (0, "")
    assert output.startswith(f"libcuda.so.1: {runtime}: gpupool's runtime\n")
    assert "session.sock: 1 vGPU\n" in output
