"""One service: a process with its children, that can be killed, frozen and started again."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path


class Service:
    """A command in a session of its own; what it writes goes to ``log``."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name, self.log = name, log
        self._command = [str(each) for each in command]
        self._environment = {**os.environ, **(environment or {})}
        self._user, self._cwd = user, cwd
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                user=self._user,
                cwd=self._cwd,
                stdin=subprocess.PIPE,  # Without an end, for those who end with it.
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Id of the process, and of the session of all it starts."""
        return self._process.pid if self._process else 0

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of it."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """End all of it at once."""
        if self._process:
            self.signal(signal.SIGKILL)
            self._process.wait()

    def stop(self, seconds: float = 60) -> bool:
        """Stop it in order; return whether it ended within ``seconds``."""
        if not self._process:
            return True
        self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        finally:
            self.kill()
        return True


def wait(done: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until something is so; an error of asking means that it is not."""
    end = time.monotonic() + seconds
    while True:
        with suppress(Exception):
            if done():
                return
        if time.monotonic() > end:
            raise TimeoutError(f"not in {seconds} s: {what}")
        time.sleep(0.2)
