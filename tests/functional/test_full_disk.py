"""First starts on a full disk: one line that says so and status 1, whatever the disk has room for still.

The disks are real ones, small tmpfs.
"""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpupool.db.api import Database
from gpupool.model import errors
from tests.markers import needs_root

pytestmark = [needs_root, pytest.mark.timeout(300)]
SIZE = 2 << 20
Fill = Callable[[int], Path]


@pytest.fixture
def fill() -> Iterator[Fill]:
    """Return a function that returns a folder on a disk with so many KiB free, emptied before."""
    # A short path, for sockets.
    where = Path(tempfile.mkdtemp(prefix="gp-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", where]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        where.rmdir()
        pytest.skip(f"no tmpfs can be mounted here: {made.stderr.strip()}")

    def leave(free_kib: int) -> Path:
        subprocess.run(["find", where, "-mindepth", "1", "-delete"], check=True)
        folder = where / "f"
        folder.mkdir(mode=0o700)
        with contextlib.suppress(OSError), (where / "filling").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
            # The last write may have been a part.
        with (where / "filling").open("rb+") as file:
            file.truncate(max((where / "filling").stat().st_size - (free_kib << 10), 0))
        return folder

    yield leave
    subprocess.run(["umount", "--lazy", where], check=True)
    where.rmdir()


def last_words(module: str, *arguments: object) -> str:
    """Run a command that can't do its work; return the one line that it writes on standard error."""
    code = f"import sys; from gpupool.cmd import {module}; sys.exit({module}.main())"
    ended = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    (line,) = ended.stderr.splitlines()
    assert "Traceback" not in line
    return line


def write(path: Path, **groups: dict[str, object]) -> Path:
    lines = []
    for group, values in groups.items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in values.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


# No byte; the log but no table; gpupool's tables but not Placement's.
@pytest.mark.parametrize("free_kib", [0, 16, 400])
def test_standalone(native: Path, fill: Fill, free_kib: int) -> None:
    folder = fill(free_kib)
    line = last_words("standalone", "--state-dir", folder, "--cdi-dir", folder / "cdi", "--port", 0)
    assert line.startswith(f"gpupool-standalone: the disk of the state folder {folder} is full: ")
    assert "CREATE TABLE" not in line


def test_an_agent(native: Path, fill: Fill, tmp_path: Path) -> None:
    """With room for its keys it starts: its host takes no vGPU while the disk is full."""
    folder = fill(0)
    paths = {name: folder / name[0] for name in ("state_path", "run_path", "cdi_path")}
    groups = {
        "DEFAULT": {"transport_url": "fake://", "log_file": folder / "agent.log"},
        "agent": {"host": "h", "drivers": "reference", **paths},
    }
    line = last_words("agent", "--config-file", write(tmp_path / "agent.conf", **groups))
    assert line.startswith("gpupool-agent: [Errno 28] No space left on device: ")
    assert str(folder) in line


@pytest.mark.parametrize("free_kib", [0, 16, 64])
def test_the_tables(fill: Fill, tmp_path: Path, free_kib: int) -> None:
    folder = fill(free_kib)
    file = write(
        tmp_path / "gpupool.conf", database={"connection": f"sqlite:///{folder}/gpupool.sqlite"}
    )
    line = last_words("manage", "--config-file", file, "db", "upgrade")
    assert line.startswith("gpupool-manage: the disk of the database is full: ")


def test_a_conductor(fill: Fill, tmp_path: Path) -> None:
    """Its log and its database are on a disk that is filled when the tables are there."""
    folder = fill(SIZE >> 10)
    url = f"sqlite:///{folder}/gpupool.sqlite"
    Database.from_url(url).upgrade()
    with contextlib.suppress(OSError), (folder / "filling").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    with pytest.raises(errors.Unavailable), Database.from_url(url).writer() as session:
        session.connection().exec_driver_sql("CREATE TABLE more (name TEXT)")
    groups = {
        "DEFAULT": {"transport_url": "fake://", "log_file": folder / "conductor.log"},
        "database": {"connection": url},
        "placement": {"auth_type": "none", "endpoint_override": "http://127.0.0.1:9"},
    }
    line = last_words("conductor", "--config-file", write(tmp_path / "gpupool.conf", **groups))
    assert line == "gpupool-conductor: the disk of the database is full"
