"""The sessions of this host: opening them, watching their workers, ending them.

A session is written down before its worker starts and crossed out after its worker ended, so an agent
that was killed at any point finds each again, or its trace to clean up. Sessions outlive the agent.
"""

import logging
import os
import select
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from oslo_config import cfg
from oslo_utils import timeutils

from gpupool.agent import host_memory, process, record, session, uids
from gpupool.agent.confinement import Confinement
from gpupool.agent.folders import Folders
from gpupool.agent.limited_log import LimitedLog
from gpupool.agent.reserve import Reserve
from gpupool.agent.session import Session, SessionRecord
from gpupool.agent.vgpus import Vgpus
from gpupool.agent.worker_log import WorkerLog
from gpupool.dataplane import handshake, paths, worker
from gpupool.drivers.base import DeviceHandle
from gpupool.model import errors
from gpupool.model.report import SessionReport

LOG = logging.getLogger(__name__)
# A killed process is gone in milliseconds unless the device's kernel driver holds it.
KILL_SECONDS = 2.0
# An opening takes a fork and some small files.
OPEN_SECONDS = 2.0
# Seconds that a worker may be on its way between fork and exec when the agent that started it died.
UNBORN = 10.0


@dataclass(frozen=True)
class Program:
    """Who asks for a session: through which attachment, for which vGPU, from which process."""

    attachment_id: str
    vgpu_id: str
    pid: int


class NotStarted(Exception):
    """The runtime was welcome, but there is no worker for it."""


class Sessions:
    """All sessions. Safe to call from several threads."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        folders: Folders,
        vgpus: Vgpus,
        confinement: Confinement,
        limited: LimitedLog,
        *,
        reserve: Reserve,
    ) -> None:
        self._options = conf.agent
        self._executable = paths.WORKER
        # A worker that was just started is still the agent's.
        self._users = (uids.parse(conf.agent.worker_uids), range(os.geteuid(), os.geteuid() + 1))
        self._folders = folders
        self._vgpus = vgpus
        self._confinement = confinement
        self._limited = limited
        self._reserve = reserve
        # For looks and changes in memory only: nobody waits with it for a process or a disk. Notified
        # when an opening ends or a session is gone.
        self._lock = threading.Condition()
        # Sessions whose worker is being started.
        self._opening: dict[str, SessionRecord] = {}
        self._live: dict[str, Session] = {}
        # When this agent took over what an earlier one left; that one may be gone for hardly longer.
        self._began = time.monotonic()
        # Records of sessions whose worker was not found yet.
        self._unborn: dict[str, SessionRecord] = {}
        # Those that ended, until their slots are free again.
        self._leaving: dict[str, SessionRecord] = {}
        # Until when to wait for workers that were killed; one that the kernel holds is waited for once.
        self._killed: dict[str, float] = {}
        # Records of sessions that ended, but could not be deleted yet.
        self._ended: dict[str, SessionRecord] = {}
        # Sessions that are to end though their attachment and vGPU stay, until they are gone.
        self._unwanted: set[str] = set()
        # Attachments and vGPUs that may have sessions.
        self._allowed: set[str] = set()
        self._epoll = select.epoll()
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._epoll.register(self._stop, select.EPOLLIN)
        self._watcher = threading.Thread(target=self._watch, name="sessions", daemon=True)

    def start(self, executable: Path) -> None:
        """Take over the sessions that an earlier agent left, then watch; workers run ``executable``."""
        self._executable = executable
        for name in record.names(self._folders.sessions):
            path = self._folders.sessions / name
            found = record.read(path, SessionRecord)
            if found is None:
                path.unlink(missing_ok=True)
            else:
                self._unborn[found.id] = found
        self.look_again()
        self._watcher.start()

    def stop(self) -> None:
        """Stop watching; the sessions go on."""
        os.eventfd_write(self._stop, 1)
        self._watcher.join()
        self._epoll.close()
        os.close(self._stop)
        with self._lock:
            for one in self._live.values():
                one.release()
            self._live.clear()

    def look_again(self) -> None:
        """Find the workers of records that have none, or cross the records out."""
        with self._lock:
            unborn, ended = list(self._unborn.values()), list(self._ended.values())
        for left in unborn:
            try:
                self._find(left)
            except OSError as exc:
                LOG.error("session %s: no look at its worker: %s", left.id, exc)
        for one in ended:
            self._unlink(one)

    def _find(self, left: SessionRecord) -> None:
        """Go on with the worker of a record, or cross the record out if there is none any more."""
        found = session.find(left, self._users)
        if found:
            self._add(found)
            # A worker started before control groups were in use may exceed the limit.
            if found.record.ring_mib:
                self._confinement.add(left.vgpu_id, found.record.worker_pid)
            LOG.info("session %s goes on with worker %d", left.id, found.record.worker_pid)
        elif left.worker_start is not None or time.monotonic() - self._began > UNBORN:
            self._cross_out(left)

    def allow(self, owner_id: str) -> None:
        """Let an attachment, or a vGPU, have sessions."""
        with self._lock:
            self._allowed.add(owner_id)

    def open(self, program: Program, connection: socket.socket) -> None:
        """Welcome the runtime, then start a worker and give it ``connection``.

        Raises a GpupoolError when there can be no session, and NotStarted after the welcome: the
        runtime waits to hear why. Raises OSError when it is gone. The caller closes its copy of
        ``connection``.
        """
        made, device = self._begin(program)
        try:
            made = self._write_down(made)
            with ExitStack() as copies:
                spec = self._prepare(made, connection, device, copies)
                handshake.send_welcome(connection, self._vgpus.shares([made.vgpu_id]), spec.ring_fd)
                # Our timeout made the connection non-blocking, and the worker shares that with us.
                connection.setblocking(True)
                child = self._start(made, spec)
        except BaseException:
            self._cross_out(made)
            raise
        self._say(
            made, logging.INFO, "session %s of vGPU %s: worker %d", made.id, made.vgpu_id, child.pid
        )

    def end(self, owner_id: str) -> int:
        """End every session of an attachment or vGPU, and let it have no more.

        Return how many have not ended although they were killed, or were not found yet.
        """
        with self._lock:
            self._allowed.discard(owner_id)
            self._wait_opened(owner_id)
            opening = sum(one.belongs_to(owner_id) for one in self._opening.values())
            ending = [one for one in self._live.values() if one.record.belongs_to(owner_id)]
            unborn = sum(one.belongs_to(owner_id) for one in self._unborn.values())
            self._kill(ending)
        return opening + unborn + self._wait_for(ending)

    def end_named(self, session_ids: Collection[str]) -> None:
        """End sessions by their ids; one whose worker is not found yet ends when it is."""
        with self._lock:
            self._unwanted.update(session_ids)
            self._unwanted &= {one.id for one in self._records()}
            ending = [one for one in self._live.values() if one.record.id in self._unwanted]
            self._kill(ending)
        if ending and (left := self._wait_for(ending)):
            LOG.error("%d sessions that are to end have workers that do not", left)

    def kill(self, owner_ids: Collection[str]) -> None:
        """Kill the sessions of attachments or vGPUs; ``end`` then waits for all of them together.

        Workers on a device that hangs may not end. Were each waited for by itself, no report went out.
        """
        with self._lock:
            self._allowed.difference_update(owner_ids)
            owners = set(owner_ids)
            self._kill(
                one
                for one in self._live.values()
                if owners & {one.record.vgpu_id, one.record.attachment_id}
            )

    def _kill(self, ending: Iterable[Session]) -> None:
        """Kill workers, and note until when to wait for each; the lock is held."""
        for one in ending:
            process.kill(one.pidfd)
            self._killed.setdefault(one.record.id, time.monotonic() + KILL_SECONDS)

    def _wait_opened(self, owner_id: str | None = None) -> None:
        """Wait until no session is being opened, of one owner or at all; the lock is held."""
        self._lock.wait_for(
            lambda: not any(not owner_id or one.belongs_to(owner_id) for one in self._opening.values()),
            OPEN_SECONDS,
        )

    def end_all(self) -> None:
        """End every session; new ones stay allowed."""
        with self._lock:
            self._wait_opened()
            ending = list(self._live.values())
            self._kill(ending)
        self._wait_for(ending)

    def has_any(self, vgpu_id: str) -> bool:
        """Tell whether the vGPU has a session."""
        with self._lock:
            return any(one.vgpu_id == vgpu_id for one in self._records())

    def report(self) -> tuple[SessionReport, ...]:
        """Return the live sessions."""
        with self._lock:
            live = [one.record for one in self._live.values()]
        return tuple(self._report(one) for one in live)

    def _report(self, one: SessionRecord) -> SessionReport:
        try:
            usage = self._vgpus.ledger(one.vgpu_id).usage(one.slot)
            memory_mib, busy_ns = usage.memory_mib, max(usage.busy_ns - one.busy_before_ns, 0)
        except (errors.Invalid, OSError):
            memory_mib, busy_ns = 0, 0
        return SessionReport(
            id=one.id,
            attachment_id=one.attachment_id,
            vgpu_id=one.vgpu_id,
            program_pid=one.program_pid,
            worker_pid=one.worker_pid,
            started_at=one.started_at,
            memory_used_mib=memory_mib,
            busy_ns=busy_ns,
        )

    def _records(self) -> Iterator[SessionRecord]:
        yield from self._opening.values()
        yield from (one.record for one in self._live.values())
        yield from self._unborn.values()
        yield from self._leaving.values()
        yield from self._ended.values()

    def _begin(self, program: Program) -> tuple[SessionRecord, DeviceHandle]:
        """Choose a slot, the device and what the session is charged for: the session's from then on."""
        self._vgpus.open(program.vgpu_id)  # one that is not there has no ledger, and a reason
        self._confinement.check_left(self._vgpus.project([program.vgpu_id]))
        with self._needed(program, "the vGPU's ledger"):
            allowed = self._vgpus.sessions(program.vgpu_id)
        with self._lock:
            if not self._allowed >= {program.attachment_id, program.vgpu_id}:
                raise errors.Unavailable(f"vGPU {program.vgpu_id} is being taken away")
            # Under the lock: a vGPU that is to move to another device waits from here on.
            device = self._vgpus.open(program.vgpu_id)
            others = [one for one in self._records() if one.vgpu_id == program.vgpu_id]
            taken = {one.slot for one in others}
            slot = next((slot for slot in range(allowed) if slot not in taken), None)
            if slot is None:
                raise errors.Unavailable(
                    f"vGPU {program.vgpu_id} has {len(taken)} sessions, one for each process that uses "
                    f"it; allowed: {allowed}, which the claim's field sessions says"
                )
            made = SessionRecord(
                id=str(uuid.uuid4()),
                attachment_id=program.attachment_id,
                vgpu_id=program.vgpu_id,
                slot=slot,
                busy_before_ns=0,
                program_pid=program.pid,
                started_at=timeutils.utcnow(),
                ring_mib=host_memory.ring_mib(
                    (one.ring_mib for one in others),
                    self._vgpus.shared_mib(program.vgpu_id),
                    self._options.ring_mib,
                ),
                context_mib=0 if self._in_reserve(program, device) else device.context_mib,
            )
            self._opening[made.id] = made
        return made, device

    def _in_reserve(self, program: Program, device: DeviceHandle) -> bool:
        """Return whether the device's reserve holds a new session's context; the lock is held.

        It holds one of each vGPU, while there is room: nobody's many sessions take it from others.
        """
        neighbours = self._vgpus.neighbours(program.vgpu_id)
        free = [one for one in self._records() if one.vgpu_id in neighbours and not one.context_mib]
        return len(free) < device.contexts and program.vgpu_id not in {one.vgpu_id for one in free}

    def _write_down(self, made: SessionRecord) -> SessionRecord:
        with self._needed(made, "the session's record"):
            busy_ns = self._vgpus.ledger(made.vgpu_id).usage(made.slot).busy_ns
            made = replace(made, busy_before_ns=busy_ns)
            self._reserve.write(self._path(made), made)
        return made

    def _prepare(
        self, made: SessionRecord, connection: socket.socket, device: DeviceHandle, copies: ExitStack
    ) -> worker.WorkerSpec:
        """Return what a worker starts with; ``copies`` closes our copies of its descriptors."""
        with self._needed(made, "the session's memory"):
            ring_fd = handshake.make_ring(made.ring_mib)
            copies.callback(os.close, ring_fd)
            ledger_fd = self._vgpus.ledger(made.vgpu_id).open()
            copies.callback(os.close, ledger_fd)
        with self._needed(made, "the user of the vGPU's workers"):
            uid = self._vgpus.worker_uid(made.vgpu_id)
        return worker.WorkerSpec(
            session_id=made.id,
            library=device.library,
            ordinal=device.ordinal,
            sandbox=device.sandbox,
            environment=device.environment,
            ledger_fd=ledger_fd,
            slot=made.slot,
            connection_fd=connection.fileno(),
            ring_fd=ring_fd,
            context_mib=made.context_mib,
            granule=device.granule,
            uid=uid,
        )

    def _start(self, made: SessionRecord, spec: worker.WorkerSpec) -> "subprocess.Popen[bytes]":
        try:
            child, log = self._spawn(made, spec)
        except OSError as exc:
            raise NotStarted(f"the worker can't be started: {exc}") from exc
        try:
            self._add(session.of_child(made, child, log))
        except OSError as exc:
            child.kill()
            child.wait()
            log.take()
            raise NotStarted(f"the worker can't be watched: {exc}") from exc
        return child

    def _spawn(
        self, made: SessionRecord, spec: worker.WorkerSpec
    ) -> "tuple[subprocess.Popen[bytes], WorkerLog]":
        """Start a worker, which begins when it is in its vGPU's control group."""
        log = WorkerLog()
        with ExitStack() as pipe:
            pipe.callback(log.close_write_end)
            try:
                begin, hold = os.pipe()
                pipe.callback(os.close, begin)
                pipe.callback(os.close, hold)
                spec = replace(spec, log_fd=log.write_end, start_fd=begin)
                child = worker.spawn(spec, self._executable)
            except OSError:
                log.take()
                raise
            self._confinement.add(made.vgpu_id, child.pid)
        return child, log

    def _add(self, one: Session) -> None:
        """Watch the session's worker. Raises OSError, and lets go of it, when that is not possible."""
        try:
            self._reserve.write(self._path(one.record), one.record)
        except OSError as exc:  # the record without a pid is there, and tells a restarted agent enough
            message = "session %s: its worker can't be written down: %s"
            self._say(one.record, logging.ERROR, message, one.record.id, exc)
        with self._lock:
            try:
                self._epoll.register(one.pidfd, select.EPOLLIN)
            except OSError:
                os.close(one.pidfd)
                raise
            self._live[one.record.id] = one
            self._leave(one.record)
            if one.record.id in self._unwanted:
                self._kill([one])

    def _leave(self, one: SessionRecord) -> None:
        """Forget that a session is being opened, looked for or crossed out; the lock is held."""
        for records in (self._opening, self._unborn, self._leaving):
            records.pop(one.id, None)
        self._lock.notify_all()

    def _wait_for(self, ending: list[Session]) -> int:
        """Wait for killed workers and cross their sessions out; return how many are left."""
        until = max((self._killed.get(one.record.id, 0.0) for one in ending), default=0.0)
        process.wait([one.pidfd for one in ending], max(until - time.monotonic(), 0.0))
        return sum(not self._finish(one.record.id) for one in ending)

    def _finish(self, session_id: str) -> bool:
        """Cross a session out if its worker has ended; return whether it is gone."""
        with self._lock:
            one = self._live.get(session_id)
            if one is None:
                return self._lock.wait_for(lambda: session_id not in self._leaving, OPEN_SECONDS)
            if not process.ended(one.pidfd):
                return False
            del self._live[session_id]
            self._killed.pop(session_id, None)
            self._leaving[session_id] = one.record
            self._epoll.unregister(one.pidfd)
        why = one.close()
        self._cross_out(one.record, time.monotonic_ns())
        level = logging.WARNING if why else logging.INFO
        self._say(one.record, level, "session %s ended%s", session_id, f": {why}" if why else "")
        return True

    def _cross_out(self, ended: SessionRecord, ended_ns: int = 0) -> None:
        """Free the slot and forget the session; ``ended_ns`` is when its worker was seen to end."""
        try:
            self._vgpus.ledger(ended.vgpu_id).clear(ended.slot, ended_ns)
        except (errors.Invalid, OSError) as exc:
            LOG.debug("slot %d of vGPU %s: %s", ended.slot, ended.vgpu_id, exc)
        self._unlink(ended)

    def _unlink(self, ended: SessionRecord) -> None:
        """Delete the record, now or at a later look; until then its slot stays taken."""
        try:
            self._path(ended).unlink(missing_ok=True)
            gone = True
        except OSError as exc:
            message = "session %s: its record can't be deleted yet: %s"
            self._say(ended, logging.ERROR, message, ended.id, exc)
            gone = False
        with self._lock:
            if gone:
                self._ended.pop(ended.id, None)
            else:
                self._ended[ended.id] = ended
            self._leave(ended)

    def _path(self, one: SessionRecord) -> Path:
        return self._folders.sessions / one.id

    def _say(self, one: SessionRecord | Program, level: int, message: str, *args: object) -> None:
        """Log what programs cause, which may do so again and again."""
        self._limited.say(LOG, level, f"attachment {one.attachment_id}", message, *args)

    @contextmanager
    def _needed(self, one: SessionRecord | Program, what: str) -> Iterator[None]:
        """Turn this host's own trouble into Unavailable: it is not the program that hung up."""
        try:
            yield
        except OSError as exc:
            self._say(one, logging.ERROR, "no session can be opened: %s: %s", what, exc)
            raise errors.Unavailable(f"{what} can't be made: {exc}") from exc

    def _watch(self) -> None:
        while True:
            ready = {fd for fd, _ in self._epoll.poll()}
            if self._stop in ready:
                return
            with self._lock:
                ended = [key for key, one in self._live.items() if one.pidfd in ready]
            for session_id in ended:
                try:
                    self._finish(session_id)
                except Exception:
                    LOG.exception("session %s did not end in order", session_id)
