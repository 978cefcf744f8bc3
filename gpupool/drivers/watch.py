"""Watches: what a driver's process answers, asked again and again, and kept for whoever can't wait."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gpupool.drivers.process import DriverProcess, Lost, Refused, Stopped
from gpupool.model import backoff, errors

LOG = logging.getLogger(__name__)
T = TypeVar("T")
# A process that was lost once is replaced and asked again at once; what it is about is in trouble only
# when that one is lost too. From then on a new one is started after so many seconds, twice as many each
# time.
_PATIENCE = 2
BACKOFF, BACKOFF_MAX = 1.0, 60.0


@dataclass(frozen=True)
class Question(Generic[T]):
    """What to ask of ``module`` (see child), and how to read an answer: Invalid when it can't be one."""

    module: str
    ask: Callable[[], dict[str, Any]]
    read: Callable[[Any], T]


class Watch(Generic[T]):
    """One question, in a process and a thread of its own; no attribute or method waits for either.

    ``answer`` is the last good one. ``trouble`` says why there is none at present; empty when there is.
    ``lost`` counts processes that were lost in a row. ``ready`` is set when it is known whether there is
    an answer. ``changed`` is called when any of these changes.
    """

    def __init__(
        self,
        name: str,
        question: Question[T],
        *,
        timeout: float,
        interval: float,
        changed: Callable[[], None],
    ) -> None:
        self.name = name
        self.answer: T | None = None
        self.trouble = ""
        self.lost = 0
        self.ready = False
        # Whether ``changed`` has to be called; it is called again after it failed.
        self._untold = False
        self._question = question
        self.timeout, self._interval = timeout, interval
        self._changed = changed
        self._process = DriverProcess(question.module)
        self._stopping = threading.Event()
        self._hurried = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"driver {name}", daemon=True)

    @property
    def pid(self) -> int | None:
        """The process, if there is one."""
        return self._process.pid

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def hurry(self) -> None:
        """Ask again at once."""
        self._hurried.set()

    def stop(self) -> None:
        """Ask no more; the process is killed soon."""
        # First: once the thread sees the others, there may be no process left to stop.
        self._process.stop()
        self._stopping.set()
        self._hurried.set()

    def join(self, seconds: float) -> None:
        """Wait for what ``stop`` began."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._hurried.clear()
                self._hurried.wait(self._look_despite_faults())
        except Stopped:
            return
        finally:
            self._process.close()

    def _look_despite_faults(self) -> float:
        """Do as ``_look``; if the thread ended, nobody would notice what becomes of the device."""
        try:
            return self._look()
        except Stopped:
            raise
        except Exception as exc:
            LOG.exception("%s: no look at it", self.name)
            self.trouble = self.trouble or repr(exc)
            return BACKOFF_MAX

    def _look(self) -> float:
        """Ask once; return how many seconds to wait before the next time."""
        try:
            said = self._process.ask(self._question.ask(), self.timeout)
            answer = self._question.read(said)
        except Refused as exc:
            self.lost = 0
            self._note(self.answer, str(exc))
            return self._interval
        except Lost as exc:
            return self._lose(str(exc))
        except errors.Invalid as exc:
            # What the library did to its process's memory nobody knows.
            self._process.discard()
            return self._lose(str(exc))
        self.lost = 0
        self._note(answer, "")
        return self._interval

    def _lose(self, why: str) -> float:
        self.lost += 1
        if self.lost < _PATIENCE:
            LOG.warning("%s: %s; starting another process", self.name, why)
            return 0.0
        self._note(self.answer, why)
        return backoff.after(BACKOFF, BACKOFF_MAX, self.lost - _PATIENCE)

    def _note(self, answer: T | None, trouble: str) -> None:
        self._untold |= not self.ready or (answer, trouble) != (self.answer, self.trouble)
        if trouble != self.trouble:
            if trouble:
                LOG.warning("%s does not answer: %s", self.name, trouble)
            else:
                LOG.info("%s answers again", self.name)
        self.answer, self.trouble, self.ready = answer, trouble, True
        if self._untold:
            self._changed()
            self._untold = False
