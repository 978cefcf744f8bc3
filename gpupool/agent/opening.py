"""Opening a session: its record, its ring, its channels, its worker."""

import logging
import os
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from oslo_config import cfg
from oslo_utils import timeutils

from gpupool.agent import host_memory
from gpupool.agent.channels import Channels, Peer
from gpupool.agent.confinement import Confinement
from gpupool.agent.limited_log import LimitedLog
from gpupool.agent.process_log import ProcessLog
from gpupool.agent.session import SessionRecord
from gpupool.agent.supervisor import Supervisor
from gpupool.agent.vgpus import Vgpus
from gpupool.dataplane import control, handshake, paths, worker
from gpupool.drivers.base import DeviceHandle
from gpupool.model import errors

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Program:
    """The request for a session: through which attachment, for which vGPU, from which process.

    ``control`` is the newest version of the control channel that its runtime speaks, 0 for none.
    """

    attachment_id: str
    vgpu_id: str
    pid: int
    control: int = 0


class NotStarted(Exception):
    """The runtime was welcome, but there is no worker for it."""


class Opener:
    """Opens sessions, for programs of several threads."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        vgpus: Vgpus,
        confinement: Confinement,
        *,
        channels: Channels,
        workers: Supervisor[SessionRecord],
        limited: LimitedLog,
    ) -> None:
        self._options = conf.agent
        self._vgpus = vgpus
        self._confinement = confinement
        self._channels = channels
        self._workers = workers
        self._limited = limited
        # Which program workers run.
        self.executable = paths.WORKER
        # Attachments and vGPUs that may have sessions.
        self.allowed: set[str] = set()

    def open(self, program: Program, connection: socket.socket) -> SessionRecord:
        """Welcome the runtime, then start a worker and give it ``connection``; return the record.

        Raises a GpupoolError when there can be no session, and NotStarted after the welcome: the
        runtime waits to hear why. Raises OSError when it is gone. The caller closes its copy of
        ``connection``.
        """
        made, device = self._begin(program)
        try:
            made = self._write_down(made)
            with ExitStack() as copies:
                spec = self._prepare(made, connection, device, copies)
                told_at = self._listen(made, Peer.RUNTIME, copies) if made.runtime_control else None
                shares = self._vgpus.shares([made.vgpu_id])
                handshake.send_welcome(connection, shares, spec.ring_fd, told_at)
                # Our timeout made the connection non-blocking, and the worker shares that with us.
                connection.setblocking(True)
                child = self._start(made, spec)
        except BaseException:
            self._workers.cross_out(made)
            raise
        self._say(
            made, logging.INFO, "session %s of vGPU %s: worker %d", made.id, made.vgpu_id, child.pid
        )
        return made

    def _begin(self, program: Program) -> tuple[SessionRecord, DeviceHandle]:
        """Choose a slot, the device and what the session is charged for: the session's from then on."""
        self._vgpus.open(program.vgpu_id)  # one that is not there has no ledger, and a reason
        self._confinement.check_left(self._vgpus.project([program.vgpu_id]))
        with self._needed(program, "the vGPU's ledger"):
            allowed = self._vgpus.sessions(program.vgpu_id)
        found: list[DeviceHandle] = []

        def make(others: list[SessionRecord]) -> SessionRecord:
            if not self.allowed >= {program.attachment_id, program.vgpu_id}:
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
            runtime_control=min(program.control, control.VERSION),
            worker_control=control.VERSION,
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
            device_state_fd = self._vgpus.device_state_of(made.vgpu_id).open()
            copies.callback(os.close, device_state_fd)
        with self._needed(made, "the user of the vGPU's workers"):
            uid = self._vgpus.worker_uid(made.vgpu_id)
        return worker.WorkerSpec(
            session_id=made.id,
            library=device.library,
            ordinal=device.ordinal,
            sandbox=device.sandbox,
            environment=device.environment,
            ledger_fd=ledger_fd,
            device_state_fd=device_state_fd,
            slot=made.slot,
            connection_fd=connection.fileno(),
            ring_fd=ring_fd,
            control_fd=self._listen(made, Peer.WORKER, copies),
            context_mib=made.context_mib,
            granule=device.granule,
            uid=uid,
        )

    def _listen(self, made: SessionRecord, peer: Peer, copies: ExitStack) -> int:
        """Return the descriptor at which a peer is told of its session."""
        with self._needed(made, "the session's control channel"):
            listener = self._channels.listen(made.id, peer)
        copies.callback(listener.close)
        return listener.fileno()

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
                child = worker.spawn(spec, self.executable)
            except OSError:
                log.take()
                raise
            self._confinement.add(made.vgpu_id, child.pid)
        return child, log

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
