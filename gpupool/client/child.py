"""A child process that gets the signals sent to this one.

While no program runs a signal raises Interrupted, also out of a request that hangs. While one runs,
signals are blocked and taken by ``sigwaitinfo``.
"""

import os
import signal
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType

# Sent to us, meant for the program.
FORWARDED = frozenset(
    {
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
    }
)
# The kernel sends a terminal's signals to every process of the foreground group: the child has it.
_SI_KERNEL = 0x80
# Takes a program's pid, returns the seconds until it is to be called again.
Look = Callable[[int], float]
# Exit codes that shells use.
NOT_FOUND = 127
NOT_EXECUTABLE = 126


class Interrupted(BaseException):
    """A signal came while no program runs. As KeyboardInterrupt, it is no error to be caught as one."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class Signals:
    """A context in which a signal raises Interrupted. Made in a process of one thread."""

    def __enter__(self) -> "Signals":
        # Under nohup, say, a hang-up is ignored, and stays so.
        forwarded = {one for one in FORWARDED if signal.getsignal(one) is not signal.SIG_IGN}
        self._waited = forwarded | {signal.SIGCHLD}
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._handlers = {one: signal.signal(one, _interrupt) for one in forwarded}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)

    def run(self, command: list[str], environment: Mapping[str, str], look: Look | None = None) -> int:
        """Run a program to its end; return its exit code, or 128 + the signal that ended it.

        ``look`` is called with its pid, and again after as many seconds as it returned.
        """
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, self._waited)
            return self._run(command, environment, look)
        finally:
            # Those that came too late for the program are answered by the exit code already.
            while signal.sigtimedwait(self._waited, 0):
                pass
            signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def _run(self, command: list[str], environment: Mapping[str, str], look: Look | None) -> int:
        try:
            pid = os.posix_spawnp(
                command[0],
                command,
                environment,
                setsigmask=self._before,
                # Python ignores these two; the program expects them as it would get them from a shell.
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
            )
        except FileNotFoundError:
            return _refused(f"{command[0]}: program not found", NOT_FOUND)
        except OSError as exc:
            return _refused(f"{command[0]}: {exc.strerror}", NOT_EXECUTABLE)
        return self._follow(pid, look)

    def _follow(self, pid: int, look: Look | None) -> int:
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            taken = self._wait(look(pid) if look else None)
            if taken and taken.si_signo != signal.SIGCHLD and taken.si_code != _SI_KERNEL:
                os.kill(pid, taken.si_signo)

    def _wait(self, seconds: float | None) -> signal.struct_siginfo | None:
        """Wait for a signal; return None when ``seconds`` went by without one."""
        if seconds is None:
            return signal.sigwaitinfo(self._waited)
        return signal.sigtimedwait(self._waited, seconds)


def _interrupt(signum: int, _frame: FrameType | None) -> None:
    raise Interrupted(signum)


def _refused(why: str, code: int) -> int:
    os.write(2, f"gpu run: {why}\n".encode())
    return code
