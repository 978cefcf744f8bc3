"""The sessions of this host: opening them, ending them, reporting them. They outlive the agent."""

import logging
import os
import socket
import subprocess
import uuid
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from oslo_config import cfg
from oslo_utils import timeutils

from gpupool.agent import host_memory, uids
from gpupool.agent.confinement import Confinement
from gpupool.agent.folders import Folders
from gpupool.agent.limited_log import LimitedLog
from gpupool.agent.process_log import ProcessLog
from gpupool.agent.reserve import Reserve
from gpupool.agent.session import STATUSES, SessionRecord
from gpupool.agent.supervised import Kind
from gpupool.agent.supervisor import Supervisor
from gpupool.agent.vgpus import Vgpus
from gpupool.dataplane import handshake, paths, worker
from gpupool.drivers.base import DeviceHandle
from gpupool.model import errors
from gpupool.model.report import SessionReport

LOG = logging.getLogger(__name__)


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
        self._vgpus = vgpus
        self._confinement = confinement
        self._limited = limited
        # A worker that was just started is still the agent's.
        users = (uids.parse(conf.agent.worker_uids), range(os.geteuid(), os.geteuid() + 1))
        kind = Kind("session", folders.sessions, SessionRecord, "--session", users, STATUSES)
        self._workers = Supervisor(kind, self, reserve)
        # Attachments and vGPUs that may have sessions.
        self._allowed: set[str] = set()

    def start(self, executable: Path) -> None:
        """Take over the sessions that an earlier agent left, then watch; workers run ``executable``."""
        self._executable = executable
        self._workers.start()

    def stop(self) -> None:
        """Stop watching; the sessions go on."""
        self._workers.stop()

    def look_again(self) -> None:
        """Find the workers of records that have none, or cross the records out."""
        self._workers.look_again()

    def allow(self, owner_id: str) -> None:
        """Let an attachment, or a vGPU, have sessions."""
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
            self._workers.cross_out(made)
            raise
        self.say(
            made, logging.INFO, "session %s of vGPU %s: worker %d", made.id, made.vgpu_id, child.pid
        )

    def end(self, owner_id: str) -> int:
        """End every session of an attachment or vGPU, and let it have no more.

        Return how many have not ended although they were killed, or were not found yet.
        """
        self._allowed.discard(owner_id)
        return self._workers.end(lambda one: one.belongs_to(owner_id))

    def end_named(self, session_ids: Collection[str]) -> None:
        """End sessions by their ids; one whose worker is not found yet ends when it is."""
        if left := self._workers.end_named(session_ids):
            LOG.error("%d sessions that are to end have workers that do not", left)

    def kill(self, owner_ids: Collection[str]) -> None:
        """Kill the sessions of attachments or vGPUs; ``end`` then waits for all of them together."""
        self._allowed.difference_update(owner_ids)
        owners = set(owner_ids)
        self._workers.kill(lambda one: bool(owners & {one.vgpu_id, one.attachment_id}))

    def end_all(self) -> None:
        """End every session; new ones stay allowed."""
        self._workers.end(lambda _: True)

    def found(self, one: SessionRecord) -> None:
        """Confine the worker of a session that an earlier agent left."""
        # A worker started before control groups were in use may exceed the limit.
        if one.ring_mib:
            self._confinement.add(one.vgpu_id, one.worker_pid)

    def ended(self, one: SessionRecord, ended_ns: int) -> None:
        """Free the slot of a session whose worker ended."""
        try:
            self._vgpus.ledger(one.vgpu_id).clear(one.slot, ended_ns)
        except (errors.Invalid, OSError) as exc:
            LOG.debug("slot %d of vGPU %s: %s", one.slot, one.vgpu_id, exc)

    def say(self, one: SessionRecord | Program, level: int, message: str, *args: object) -> None:
        """Log what programs cause, which may do so again and again."""
        self._limited.say(LOG, level, f"attachment {one.attachment_id}", message, *args)

    def has_any(self, vgpu_id: str) -> bool:
        """Tell whether the vGPU has a session."""
        return any(one.vgpu_id == vgpu_id for one in self._workers.records())

    def report(self) -> tuple[SessionReport, ...]:
        """Return the live sessions."""
        return tuple(self._report(one) for one in self._workers.running())

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

    def _begin(self, program: Program) -> tuple[SessionRecord, DeviceHandle]:
        """Choose a slot, the device and what the session is charged for: the session's from then on."""
        self._vgpus.open(program.vgpu_id)  # one that is not there has no ledger, and a reason
        self._confinement.check_left(self._vgpus.project([program.vgpu_id]))
        with self._needed(program, "the vGPU's ledger"):
            allowed = self._vgpus.sessions(program.vgpu_id)
        found: list[DeviceHandle] = []

        def make(others: list[SessionRecord]) -> SessionRecord:
            if not self._allowed >= {program.attachment_id, program.vgpu_id}:
                raise errors.Unavailable(f"vGPU {program.vgpu_id} is being taken away")
            # Not before: a vGPU that is to move to another device waits from here on.
            device = self._vgpus.open(program.vgpu_id)
            found.append(device)
            return self._choose(program, device, allowed, others)

        made = self._workers.begin(make)
        return made, found[0]

    def _choose(
        self, program: Program, device: DeviceHandle, allowed: int, others: list[SessionRecord]
    ) -> SessionRecord:
        """Return the record of a new session beside ``others``; the vGPU may have ``allowed``."""
        own = [one for one in others if one.vgpu_id == program.vgpu_id]
        taken = {one.slot for one in own}
        slot = next((slot for slot in range(allowed) if slot not in taken), None)
        if slot is None:
            raise errors.Unavailable(
                f"vGPU {program.vgpu_id} has {len(taken)} sessions, one for each process that uses "
                f"it; allowed: {allowed}, which the claim's field sessions says"
            )
        return SessionRecord(
            id=str(uuid.uuid4()),
            attachment_id=program.attachment_id,
            vgpu_id=program.vgpu_id,
            slot=slot,
            busy_before_ns=0,
            program_pid=program.pid,
            started_at=timeutils.utcnow(),
            ring_mib=host_memory.ring_mib(
                (one.ring_mib for one in own),
                self._vgpus.shared_mib(program.vgpu_id),
                self._options.ring_mib,
            ),
            context_mib=0 if self._in_reserve(program, device, others) else device.context_mib,
        )

    def _in_reserve(self, program: Program, device: DeviceHandle, others: list[SessionRecord]) -> bool:
        """Return whether the device's reserve holds a new session's context.

        It holds one of each vGPU, while there is room: nobody's many sessions take it from others.
        """
        neighbours = self._vgpus.neighbours(program.vgpu_id)
        free = [one for one in others if one.vgpu_id in neighbours and not one.context_mib]
        return len(free) < device.contexts and program.vgpu_id not in {one.vgpu_id for one in free}

    def _write_down(self, made: SessionRecord) -> SessionRecord:
        with self._needed(made, "the session's record"):
            busy_ns = self._vgpus.ledger(made.vgpu_id).usage(made.slot).busy_ns
            made = replace(made, busy_before_ns=busy_ns)
            self._workers.write_down(made)
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
            self._workers.adopt(made, child, log)
        except OSError as exc:
            raise NotStarted(f"the worker can't be watched: {exc}") from exc
        return child

    def _spawn(
        self, made: SessionRecord, spec: worker.WorkerSpec
    ) -> "tuple[subprocess.Popen[bytes], ProcessLog]":
        """Start a worker, which begins when it is in its vGPU's control group."""
        log = ProcessLog()
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

    @contextmanager
    def _needed(self, one: SessionRecord | Program, what: str) -> Iterator[None]:
        """Turn this host's own trouble into Unavailable: it is not the program that hung up."""
        try:
            yield
        except OSError as exc:
            self.say(one, logging.ERROR, "no session can be opened: %s: %s", what, exc)
            raise errors.Unavailable(f"{what} can't be made: {exc}") from exc
