"""Calls of a vendor's library, in a process that is killed and replaced when one does not return."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Any

from gpupool.drivers.protocol import PACKET_MAX
from gpupool.model import text as texts

# A killed process is gone in milliseconds unless the kernel's driver of the device holds it.
KILL_SECONDS = 2.0
# Characters that are kept of an error: it gets into the log and to operators.
_ERROR_MAX = 500


class Refused(Exception):
    """The vendor's library answered with an error, or its text could not be read. The process lives."""


class Lost(Exception):
    """The process died, did not answer in time, or said what is no answer; it is replaced."""


class Stopped(Exception):
    """Somebody stopped the asking."""


class DriverProcess:
    """At most one process that answers for ``module`` (see child); for one thread, but for ``stop``.

    It has a session of its own, none of this process's descriptors and next to none of its environment,
    and is killed by the kernel when the thread that asked first ends.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._pidfd = -1
        self._killed = False
        self._asked = 0
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)

    def ask(self, question: dict[str, Any], seconds: float) -> Any:
        """Return the answer to ``question``; start a process when there is none.

        Raises Refused, Lost after ``seconds`` at most (and those a kill takes), or Stopped.
        """
        self._replace()
        self._asked += 1
        try:
            self._send({**question, "id": self._asked})
            return self._read(self._receive(seconds))
        except Refused:
            raise
        except BaseException:
            self._kill()
            raise

    def discard(self) -> None:
        """Kill the process, so that the next question is another's."""
        self._kill()

    def stop(self) -> None:
        """Make every later ``ask`` raise Stopped."""
        os.eventfd_write(self._stop, 1)

    def close(self) -> None:
        """Kill the process; nothing can be asked any more."""
        self._kill()
        os.close(self._stop)

    @property
    def pid(self) -> int | None:
        """The process, if there is one."""
        return self._child.pid if self._child else None

    def _replace(self) -> None:
        """Start a process where there is none. Raises Lost while one is there that can't be killed."""
        if self._child and self._killed and not self._has_ended(0):
            raise Lost(f"process {self._child.pid} hangs in the kernel and can't be killed")
        if self._child is None:
            try:
                self._start()
            except OSError as exc:
                raise Lost(f"the driver's process can't be started: {exc}") from exc

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-I", "-m", "gpupool.drivers.child", self._module]
        with theirs:
            try:
                child = subprocess.Popen(
                    [*command, str(os.getpid()), str(theirs.fileno())],
                    env=_environment(),
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    start_new_session=True,
                )
                self._child, self._killed = child, False
                self._pidfd = os.pidfd_open(child.pid)
            except OSError:
                ours.close()
                self._kill()
                raise
        ours.setblocking(False)
        self._connection = ours

    def _send(self, question: dict[str, Any]) -> None:
        if self._connection is None:
            raise Lost("there is no process")
        try:
            self._connection.send(json.dumps(question).encode())
        except OSError as exc:
            raise Lost(self._why_ended() or f"the driver's process takes no question: {exc}") from exc

    def _receive(self, seconds: float) -> bytes:
        """Return one packet."""
        if self._connection is None:
            raise Lost("there is no process")
        poll = select.poll()
        for descriptor in (self._stop, self._connection.fileno(), self._pidfd):
            poll.register(descriptor, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(seconds * 1000)}
        if self._stop in ready:
            raise Stopped
        if not ready:
            raise Lost(f"a call of the vendor's library has not returned for {seconds:g} s")
        try:
            packet = self._connection.recv(PACKET_MAX + 1)
        except OSError:
            packet = b""
        if not packet:
            raise Lost(self._why_ended() or "the driver's process hung up")
        return packet

    def _read(self, packet: bytes) -> Any:
        """Return what an answer says."""
        try:
            reply = json.loads(packet) if len(packet) <= PACKET_MAX else None
        except (ValueError, RecursionError):
            reply = None
        if not isinstance(reply, dict) or reply.get("id") != self._asked:
            raise Lost("the driver's process said what is no answer")
        if isinstance(reply.get("error"), str):
            raise Refused(texts.shown(reply["error"], _ERROR_MAX))
        return reply.get("answer")

    def _why_ended(self) -> str:
        """Return how the process ended; empty if it has not."""
        # The end of the connection may be seen a moment before that of the process.
        if self._child is None or not _is_readable(self._pidfd, KILL_SECONDS):
            return ""
        ended = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOWAIT)
        if ended is None or ended.si_code == os.CLD_EXITED:
            return f"the driver's process ended with status {ended.si_status if ended else 0}"
        return f"the driver's process was ended by {_name(ended.si_status)}"

    def _kill(self) -> None:
        """Kill the process and all of its session; wait for its end, but not for long."""
        if self._connection:
            self._connection.close()
            self._connection = None
        if self._child is None:
            return
        # While it was not waited for, its number is nobody else's.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._killed = True
        self._has_ended(KILL_SECONDS)

    def _has_ended(self, seconds: float) -> bool:
        """Wait for the end of a process that was killed; return whether it is gone."""
        if self._child is None:
            return True
        if self._pidfd >= 0 and not _is_readable(self._pidfd, seconds):
            return False
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if self._pidfd >= 0:
            os.close(self._pidfd)
        self._child, self._pidfd = None, -1
        return True


def _name(number: int) -> str:
    """Return the name of a signal; most real-time signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _is_readable(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _environment() -> dict[str, str]:
    """Return what finds the vendor's library, and nothing else."""
    found = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"PATH": os.defpath, "LANG": "C.UTF-8", **found}
