"""Processes that outlive the agent: what a supervisor knows of each, and tells its owner."""

import os
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

from gpupool.agent.process import Identity
from gpupool.agent.process_log import ProcessLog


class Record(Protocol):
    """The record of a process: a frozen dataclass."""

    @property
    def id(self) -> str:
        """Name of the record; the process has it on its command line."""

    @property
    def identity(self) -> Identity | None:
        """The process; None until it was started."""

    def started(self, identity: Identity) -> Self:
        """Return the record of the process that was started."""


R = TypeVar("R", bound=Record)
R_contra = TypeVar("R_contra", bound=Record, contravariant=True)


@dataclass(frozen=True)
class Kind(Generic[R]):
    """A kind of process.

    ``noun`` names one in the log. ``folder`` has the records, of class ``record``. ``option`` is the
    option of its command line that has the record's id, and ``users`` are those that it runs as.
    ``statuses`` says what exit statuses mean.
    """

    noun: str
    folder: Path
    record: type[R]
    option: str
    users: Collection[range]
    statuses: Mapping[int, str]


class Owner(Protocol[R_contra]):
    """What a supervisor tells of its processes; it holds no lock then."""

    def found(self, one: R_contra) -> None:
        """Take back a process that an earlier agent started."""

    def ended(self, one: R_contra, ended_ns: int) -> None:
        """Free what a process had; ``ended_ns`` is its end by CLOCK_MONOTONIC, 0: nobody saw it."""

    def say(self, one: R_contra, level: int, message: str, *args: object) -> None:
        """Log."""


@dataclass(frozen=True)
class Running(Generic[R]):
    """A process that was alive when it was last looked at."""

    record: R
    pidfd: int
    child: "subprocess.Popen[bytes] | None" = None
    log: ProcessLog | None = None

    def release(self) -> list[str]:
        """Close the descriptors; the process may go on. Return what it wrote for the log."""
        os.close(self.pidfd)
        return self.log.take() if self.log else []
