"""Watches processes that outlive the agent, kills them, and finds them again.

A process is written down before it starts and crossed out after it ended, so an agent that was killed
at any point finds each again, or its trace to clean up.
"""

import logging
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Generic

from gpupool.agent import process, record
from gpupool.agent.process import Identity
from gpupool.agent.process_log import ProcessLog
from gpupool.agent.reserve import Reserve
from gpupool.agent.supervised import Kind, Owner, R, Running

LOG = logging.getLogger(__name__)
# A killed process is gone in milliseconds unless the device's kernel driver holds it.
KILL_SECONDS = 2.0
# A start takes a fork and some small files.
START_SECONDS = 2.0
# Seconds that a process may be on its way between fork and exec when the agent that started it died.
UNBORN = 10.0


class Supervisor(Generic[R]):
    """All processes of one kind. Safe to call from several threads."""

    def __init__(self, kind: Kind[R], owner: Owner[R], reserve: Reserve) -> None:
        self._kind = kind
        self._owner = owner
        self._reserve = reserve
        # For looks and changes in memory only: nobody waits with it for a process or a disk. Notified
        # when a start ends or a process is gone.
        self._lock = threading.Condition()
        self._starting: dict[str, R] = {}
        self._running: dict[str, Running[R]] = {}
        # When this agent took over what an earlier one left; that one may be gone for hardly longer.
        self._began = time.monotonic()
        # Records whose process was not found yet.
        self._unborn: dict[str, R] = {}
        # Those that ended, until the owner has freed what they had.
        self._leaving: dict[str, R] = {}
        # Until when to wait for those that were killed; one that the kernel holds is waited for once.
        self._killed: dict[str, float] = {}
        # Records of those that ended, but could not be deleted yet.
        self._ended: dict[str, R] = {}
        # Those that are to end by name, until they are gone.
        self._unwanted: set[str] = set()
        self._epoll = select.epoll()
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._epoll.register(self._stop, select.EPOLLIN)
        self._watcher = threading.Thread(target=self._watch, name=f"{kind.noun}s", daemon=True)

    def start(self) -> None:
        """Take over what an earlier agent left, then watch."""
        for name in record.names(self._kind.folder):
            path = self._kind.folder / name
            found = record.read(path, self._kind.record)
            if found is None:
                path.unlink(missing_ok=True)
            else:
                self._unborn[found.id] = found
        self.look_again()
        self._watcher.start()

    def stop(self) -> None:
        """Stop watching; the processes go on."""
        os.eventfd_write(self._stop, 1)
        self._watcher.join()
        self._epoll.close()
        os.close(self._stop)
        with self._lock:
            for one in self._running.values():
                one.release()
            self._running.clear()

    def look_again(self) -> None:
        """Find the processes of records that have none, or cross the records out."""
        with self._lock:
            unborn, ended = list(self._unborn.values()), list(self._ended.values())
        for left in unborn:
            try:
                self._find(left)
            except OSError as exc:
                LOG.error("%s %s: no look at its process: %s", self._kind.noun, left.id, exc)
        for one in ended:
            self._unlink(one)

    def records(self) -> list[R]:
        """Return the records of all: starting, running, not found yet, or not crossed out yet."""
        with self._lock:
            return list(self._records())

    def running(self) -> list[R]:
        """Return the records of those that run, or have something still that the owner frees."""
        with self._lock:
            return [*(one.record for one in self._running.values()), *self._leaving.values()]

    def begin(self, make: Callable[[list[R]], R]) -> R:
        """Note that a process is about to start.

        ``make`` returns its record. It is given those of all others and runs under the lock: no two
        choose the same, and an end that comes later waits for the start.
        """
        with self._lock:
            made = make(list(self._records()))
            self._starting[made.id] = made
        return made

    def write_down(self, one: R) -> None:
        """Write the record, before its process starts. Raises OSError."""
        # No process outlives the machine's start.
        self._reserve.write(self._path(one), one, durable=False)

    def adopt(self, one: R, child: "subprocess.Popen[bytes]", log: ProcessLog) -> None:
        """Watch a process that was just started; one that has ended already is still ours to reap.

        Raises OSError, and kills it, when it can't be watched.
        """
        try:
            start = process.start_of(child.pid) or ""
            pidfd = os.pidfd_open(child.pid)
            self._add(Running(one.started(Identity(child.pid, start)), pidfd, child, log))
        except OSError:
            child.kill()
            child.wait()
            log.take()
            raise

    def kill(self, chosen: Callable[[R], bool]) -> None:
        """Kill some; ``end`` then waits for all of them together.

        Processes on a device that hangs may not end. Were each waited for by itself, no report went out.
        """
        with self._lock:
            self._kill(one for one in self._running.values() if chosen(one.record))

    def end(self, chosen: Callable[[R], bool]) -> int:
        """End some, also those that are about to start.

        Return how many have not ended although they were killed, or were not found yet.
        """
        with self._lock:
            self._lock.wait_for(lambda: not any(map(chosen, self._starting.values())), START_SECONDS)
            starting = sum(map(chosen, self._starting.values()))
            ending = [one for one in self._running.values() if chosen(one.record)]
            unborn = sum(map(chosen, self._unborn.values()))
            self._kill(ending)
        return starting + unborn + self._wait_for(ending)

    def end_named(self, ids: Collection[str]) -> int:
        """End those of these ids, and those of earlier calls; one that is not found yet ends when it is.

        Return how many have not ended although they were killed.
        """
        with self._lock:
            self._unwanted.update(ids)
            self._unwanted &= {one.id for one in self._records()}
            ending = [one for one in self._running.values() if one.record.id in self._unwanted]
            self._kill(ending)
        return self._wait_for(ending) if ending else 0

    def cross_out(self, ended: R, ended_ns: int = 0) -> None:
        """Forget a process that ended, or that never started."""
        self._owner.ended(ended, ended_ns)
        self._unlink(ended)

    def _find(self, left: R) -> None:
        """Go on with the process of a record, or cross the record out if there is none any more.

        An agent that died right after it started the process wrote down none; the command line tells,
        and that it is of the kind's users, as whom nothing but such processes and agents run.
        """
        identity = left.identity or process.find_by_argument(
            self._kind.option, left.id, self._kind.users
        )
        pidfd = process.hold(identity.pid, identity.start) if identity else None
        if identity and pidfd is not None:
            found = left.started(identity)
            self._add(Running(found, pidfd))
            self._owner.found(found)
            LOG.info("%s %s goes on with process %d", self._kind.noun, left.id, identity.pid)
        elif left.identity or time.monotonic() - self._began > UNBORN:
            self.cross_out(left)

    def _records(self) -> Iterator[R]:
        yield from self._starting.values()
        yield from (one.record for one in self._running.values())
        yield from self._unborn.values()
        yield from self._leaving.values()
        yield from self._ended.values()

    def _add(self, one: Running[R]) -> None:
        """Watch a process. Raises OSError, and lets go of it, when that is not possible."""
        try:
            self.write_down(one.record)
        except OSError as exc:  # the record that names no process is there, and tells enough
            message = "%s %s: its process can't be written down: %s"
            self._owner.say(one.record, logging.ERROR, message, self._kind.noun, one.record.id, exc)
        with self._lock:
            try:
                self._epoll.register(one.pidfd, select.EPOLLIN)
            except OSError:
                os.close(one.pidfd)
                raise
            self._running[one.record.id] = one
            self._leave(one.record)
            if one.record.id in self._unwanted:
                self._kill([one])

    def _leave(self, one: R) -> None:
        """Forget that a process is being started, looked for or crossed out; the lock is held."""
        for records in (self._starting, self._unborn, self._leaving):
            records.pop(one.id, None)
        self._lock.notify_all()

    def _kill(self, ending: Iterable[Running[R]]) -> None:
        """Kill some, and note until when to wait for each; the lock is held."""
        for one in ending:
            process.kill(one.pidfd)
            self._killed.setdefault(one.record.id, time.monotonic() + KILL_SECONDS)

    def _wait_for(self, ending: list[Running[R]]) -> int:
        """Wait for killed processes and cross them out; return how many are left."""
        until = max((self._killed.get(one.record.id, 0.0) for one in ending), default=0.0)
        process.wait([one.pidfd for one in ending], max(until - time.monotonic(), 0.0))
        return sum(not self._finish(one.record.id) for one in ending)

    def _finish(self, name: str) -> bool:
        """Cross a process out if it has ended; return whether it is gone."""
        with self._lock:
            one = self._running.get(name)
            if one is None:
                return self._lock.wait_for(lambda: name not in self._leaving, START_SECONDS)
            if not process.ended(one.pidfd):
                return False
            del self._running[name]
            self._killed.pop(name, None)
            self._leaving[name] = one.record
            self._epoll.unregister(one.pidfd)
        why = self._why_ended(one)
        self.cross_out(one.record, time.monotonic_ns())
        level = logging.WARNING if why else logging.INFO
        reason = f": {why}" if why else ""
        self._owner.say(one.record, level, "%s %s ended%s", self._kind.noun, name, reason)
        return True

    def _why_ended(self, one: Running[R]) -> str:
        """Let go of a process that has ended; return why it did, as far as that is known."""
        status = one.child.wait() if one.child else 0
        said = one.release()
        if status in (0, -signal.SIGKILL):  # which is how the agent ends one
            return "; ".join(said)
        meaning = self._kind.statuses.get(status, "its process ended")
        return "; ".join([f"{meaning} (status {status})", *said])

    def _unlink(self, ended: R) -> None:
        """Delete the record, now or at a later look; until then ``records`` has it."""
        try:
            self._path(ended).unlink(missing_ok=True)
            gone = True
        except OSError as exc:
            message = "%s %s: its record can't be deleted yet: %s"
            self._owner.say(ended, logging.ERROR, message, self._kind.noun, ended.id, exc)
            gone = False
        with self._lock:
            if gone:
                self._ended.pop(ended.id, None)
            else:
                self._ended[ended.id] = ended
            self._leave(ended)

    def _path(self, one: R) -> Path:
        return self._kind.folder / one.id

    def _watch(self) -> None:
        while True:
            ready = {fd for fd, _ in self._epoll.poll()}
            if self._stop in ready:
                return
            with self._lock:
                ended = [key for key, one in self._running.items() if one.pidfd in ready]
            for name in ended:
                try:
                    self._finish(name)
                except Exception:
                    LOG.exception("%s %s did not end in order", self._kind.noun, name)
