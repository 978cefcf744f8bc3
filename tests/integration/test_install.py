"""The installation guide: followed word for word on an empty host, it ends in a service that works."""

import importlib.util
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.integration import empty_host, guide
from tests.markers import needs_root

pytestmark = [needs_root, pytest.mark.timeout(2700), pytest.mark.xdist_group("install")]
PROJECT = tomllib.loads((guide.ROOT / "pyproject.toml").read_text())
# What a distribution's Python is called: gpupool is installed for that one.
PYTHON = Path("/usr/bin/python3")
NATIVE = ("gpupool-doctor", "gpupool-worker", "refcuda/libcuda.so.1", "runtime/libcuda.so.1")
BUILT = [f"gpupool/dataplane/lib/{name}" for name in NATIVE]
LOAD_COMMANDS = """
from importlib.metadata import entry_points
groups = ("openstack.cli.extension", "openstack.gpu_pool.v1")
for point in [point for group in groups for point in entry_points(group=group)]:
    if point.value.startswith("gpupool."):
        point.load()
"""
EXTRAS = ("server", "mysql", "uwsgi", "agent")


def call(*command: object) -> str:
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose ``wheels`` are the packages that a host would get from a package index."""
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is missing; on Debian: python3-venv")
    made = tmp_path_factory.mktemp("install")
    call(PYTHON, "-m", "venv", made / "python")
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *(each for name in EXTRAS for each in extras[name])]
    pip = [made / "python/bin/pip", "--quiet"]
    call(*pip, "wheel", "--wheel-dir", made / "wheels", *wanted, *PROJECT["build-system"]["requires"])
    return made


@pytest.fixture(scope="module")
def followed(folder: Path) -> Path:
    """Follow the page on an empty host; return the folder with the wheel that it built."""
    probe = [*empty_host.NAMESPACES, "mount", "-t", "tmpfs", "tmpfs", "/run"]
    tried = subprocess.run(probe, capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no namespaces can be made here: {tried.stderr.strip()}")
    if missing := [name for name in packages() if not installed(name)]:
        pytest.skip(f"not installed; on Debian: {' '.join(missing)}")
    if importlib.util.find_spec("keystone") is None:
        pytest.skip("Keystone is not installed; pip install gpupool[test] does")
    done = subprocess.run(
        [*empty_host.COMMAND, folder],
        cwd=guide.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20000:]
    assert done.stdout.endswith("The page was followed to its end.\n")
    return folder / f"upper{empty_host.LAYERS.index('/root')}" / "gpupool-wheel"


def test_the_wheel_has_all_that_a_host_needs(followed: Path) -> None:
    (wheel,) = followed.iterdir()
    held = zipfile.ZipFile(wheel).namelist()
    of_checkout = call("git", "-C", guide.ROOT, "ls-files", "gpupool", "etc").splitlines()
    # C is there built.
    modules = {name for name in of_checkout if name.endswith(".py")}
    assert modules - set(held) == set()
    assert set(BUILT) - set(held) == set()
    shared = {name.partition(".data/data/")[2] for name in held}
    files = {Path(name) for name in of_checkout if name.startswith("etc/")}
    wanted = {
        f"share/gpupool/{'systemd/' if name.suffix == '.service' else ''}{name.name}"
        for name in files
        if not name.name.endswith("-generator.conf")
    }
    assert wanted - shared == set()


def test_a_client_alone(followed: Path, folder: Path) -> None:
    """No extra: the client's commands work, all others say what they need."""
    (wheel,) = followed.iterdir()
    call(PYTHON, "-m", "venv", folder / "client")
    scripts = folder / "client/bin"
    pip = (scripts / "pip", "--quiet", "install", "--no-index", "--find-links", folder / "wheels")
    call(*pip, wheel)
    call(scripts / "python", "-c", LOAD_COMMANDS)
    for name in PROJECT["project"]["scripts"]:
        done = subprocess.run(
            [scripts / name, "--help"], capture_output=True, text=True, check=False, cwd=folder
        )
        if PROJECT["project"]["scripts"][name].startswith("gpupool.console:"):
            assert done.returncode == 1
            (line,) = done.stderr.splitlines()
            assert line.startswith(f"{name} needs gpupool[")
        else:
            assert "Traceback" not in done.stderr


def packages() -> list[str]:
    """Return the Debian packages that the page installs."""
    lines = [line.split() for step in guide.steps() for line in step.text.splitlines()]
    return sorted({name for line in lines if line[:2] == ["apt-get", "install"] for name in line[3:]})


def installed(package: str) -> bool:
    command = ["dpkg-query", "-W", "-f=${db:Status-Status}", package]
    return subprocess.run(command, capture_output=True, check=False).stdout == b"installed"
