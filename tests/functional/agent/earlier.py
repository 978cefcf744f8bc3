"""An earlier commit, built: its agent, its runtime and its worker are older parts of an upgrade."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# Sessions, records and containers of this commit live on through an upgrade.
COMMIT = "09a7f44"


def _git(*arguments: str) -> bytes:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


def unpack(cache: Path) -> Path:
    """Return the folder of the commit, built; skip the test when its history is not at hand."""
    try:
        _git("cat-file", "-e", f"{COMMIT}^{{commit}}")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"the history with commit {COMMIT} is not at hand")
    folder = cache / COMMIT
    with (cache / f"{COMMIT}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "built").exists():
            content = _git("archive", COMMIT, "gpupool", "tests")
            folder.mkdir(exist_ok=True)
            subprocess.run(["tar", "-x", "-C", folder], input=content, check=True)
            build = [sys.executable, folder / "gpupool" / "dataplane" / "build.py"]
            subprocess.run(build, check=True, capture_output=True)
            (folder / "built").touch()
    return folder


class EarlierAgent:
    """That commit's agent on the folders of a host, with its stand-in for a conductor."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.runtime = folder / "gpupool" / "dataplane" / "lib" / "runtime"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.functional.agent.stand_in", state],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "started\n"

    def kill(self) -> None:
        """End it as a package's upgrade does at worst."""
        self.process.kill()
        self.process.communicate()
