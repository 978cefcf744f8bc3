"""One process of the bench: a module of Python, in a session of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 20


class Failed(Exception):
    """Something ended or did not come up; the text has the end of its output."""


class Process:
    """A module that runs, from the moment this is made until ``stop``; its output goes to a file."""

    def __init__(self, folder: Path, name: str, *arguments: str, talks: bool = False) -> None:
        """Run a module with arguments; one that ``talks`` answers a line with a line: see ``ask``."""
        self.name = name
        self._path = folder / f"{name}.out"
        with self._path.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", *arguments],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if talks else output,
                stderr=output,
                text=True,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Id of the process, and of the session of all it starts."""
        return self._process.pid

    @property
    def output(self) -> str:
        """The end of what it wrote."""
        return self._path.read_text(errors="replace")[-3000:]

    def check(self) -> None:
        """Raise Failed when it has ended."""
        if self._process.poll() is not None:
            raise Failed(f"{self.name} ended with {self._process.returncode}:\n{self.output}")

    def ask(self) -> Any:
        """Return the JSON that it answers to a line."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self.check()
        return json.loads(line)

    def stop(self) -> None:
        """End it and all it started, by force where it must be."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
