"""The sessions of this host: ending them, telling and reporting them. They outlive the agent."""

import logging
import os
import socket
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from oslo_config import cfg

from gpupool.agent import uids
from gpupool.agent.channels import Channels
from gpupool.agent.confinement import Confinement
from gpupool.agent.folders import Folders
from gpupool.agent.limited_log import LimitedLog
from gpupool.agent.opening import Opener, Program
from gpupool.agent.reserve import Reserve
from gpupool.agent.session import STATUSES, SessionRecord
from gpupool.agent.supervised import Kind
from gpupool.agent.supervisor import Supervisor
from gpupool.agent.vgpus import Vgpus
from gpupool.dataplane import control
from gpupool.dataplane.control import Message
from gpupool.model import errors
from gpupool.model.report import SessionReport, VgpuSpec

LOG = logging.getLogger(__name__)


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
        self._vgpus = vgpus
        self._confinement = confinement
        self._limited = limited
        # A worker that was just started is still the agent's.
        users = (uids.parse(conf.agent.worker_uids), range(os.geteuid(), os.geteuid() + 1))
        kind = Kind("session", folders.sessions, SessionRecord, "--session", users, STATUSES)
        self._workers = Supervisor(kind, self, reserve)
        self._channels = Channels(folders.control)
        self._opener = Opener(
            conf,
            vgpus,
            confinement,
            channels=self._channels,
            workers=self._workers,
            limited=limited,
        )

    def start(self, executable: Path) -> None:
        """Take over the sessions that an earlier agent left, then watch; workers run ``executable``."""
        self._opener.executable = executable
        self._workers.start()
        self._channels.keep({one.id for one in self._workers.records()})

    def stop(self) -> None:
        """Stop watching; the sessions go on."""
        self._workers.stop()
        self._channels.stop()

    def look_again(self) -> None:
        """Find the workers of records that have none, or cross the records out; connect to all."""
        self._workers.look_again()
        for one in self._workers.running():
            self._connect(one)

    def allow(self, owner_id: str) -> None:
        """Let an attachment, or a vGPU, have sessions."""
        self._opener.allowed.add(owner_id)

    def open(self, program: Program, connection: socket.socket) -> None:
        """Welcome the runtime, then start a worker and give it ``connection``; see Opener.open."""
        self._connect(self._opener.open(program, connection))

    def revoke(self, reasons: Mapping[str, str]) -> None:
        """Kill the sessions of attachments or vGPUs, and let these have no more.

        Programs are told the reason. ``end`` then waits for all of them together.
        """
        self._opener.allowed.difference_update(reasons)
        self._revoke(lambda one: reasons.get(one.vgpu_id, "") or reasons.get(one.attachment_id, ""))
        self._workers.kill(lambda one: bool(reasons.keys() & {one.vgpu_id, one.attachment_id}))

    def end(self, owner_id: str) -> int:
        """End every session of an attachment or vGPU, and let it have no more.

        Return how many have not ended although they were killed, or were not found yet.
        """
        self._opener.allowed.discard(owner_id)
        return self._workers.end(lambda one: one.belongs_to(owner_id))

    def end_named(self, session_ids: Collection[str]) -> None:
        """End sessions by their ids; one whose worker is not found yet ends when it is."""
        if session_ids:
            reason = "its project ended the session"
            self._revoke(lambda one: reason if one.id in session_ids else "")
        if left := self._workers.end_named(session_ids):
            LOG.error("%d sessions that are to end have workers that do not", left)

    def end_all(self) -> None:
        """End every session; new ones stay allowed."""
        self._revoke(lambda _: "the agent of its host was stopped with all sessions")
        self._workers.end(lambda _: True)

    def freeze(self, vgpu_ids: Collection[str], reason: str, seconds: float) -> set[str]:
        """Tell sessions that their vGPUs are frozen; return those that have work after ``seconds``."""
        told = Message(kind=control.Kind.FROZEN, text=reason)
        left = self._channels.ask(self._of_vgpus(vgpu_ids), told, seconds)
        return left.intersection(self._of_vgpus(vgpu_ids))

    def thaw(self, vgpu_ids: Collection[str]) -> None:
        """Tell sessions that the work of their vGPUs goes on."""
        self._channels.tell(self._of_vgpus(vgpu_ids), Message(kind=control.Kind.THAWED))

    def resized(self, spec: VgpuSpec) -> None:
        """Tell the sessions of a vGPU what it has from now on; its ledger says so already."""
        told = Message(
            kind=control.Kind.RESIZED,
            vgpu_id=spec.id,
            compute=spec.compute,
            memory_mib=spec.memory_mib,
        )
        self._channels.tell(self._of_vgpus({spec.id}), told)

    def found(self, one: SessionRecord) -> None:
        """Confine the worker of a session that an earlier agent left."""
        # A worker started before control groups were in use may exceed the limit.
        if one.ring_mib:
            self._confinement.add(one.vgpu_id, one.worker_pid)

    def ended(self, one: SessionRecord, ended_ns: int) -> None:
        """Free the slot of a session whose worker ended, and close its channels."""
        self._channels.forget(one.id)
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

    def _of_vgpus(self, vgpu_ids: Collection[str]) -> list[str]:
        return [one.id for one in self._workers.running() if one.vgpu_id in vgpu_ids]

    def _revoke(self, reason: Callable[[SessionRecord], str]) -> None:
        """Tell programs why their sessions end, as ``reason`` says; empty: they do not."""
        for one in self._workers.running():
            if why := reason(one):
                told = Message(kind=control.Kind.REVOKED, session_id=one.id, text=why)
                self._channels.tell([one.id], told)

    def _connect(self, one: SessionRecord) -> None:
        """Tell a session's peers who they are, unless they were told.

        A restarted agent may not know the vGPU before a conductor tells it; then it comes again.
        """
        spec = self._vgpus.spec(one.vgpu_id)
        if spec:
            identity = Message(
                kind=control.Kind.IDENTITY,
                session_id=one.id,
                claim_id=spec.claim_id,
                vgpu_id=spec.id,
                index=spec.index or 0,
                compute=spec.compute,
                memory_mib=spec.memory_mib,
            )
            self._channels.connect(identity, one.versions)
