"""The attachments of this host: where programs ask for sessions, and what containers are given."""

import hmac
import logging
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gpupool.agent import cdi, record
from gpupool.agent.folders import Folders
from gpupool.agent.limited_log import LimitedLog
from gpupool.agent.opening import NotStarted, Program
from gpupool.agent.server import Acceptor, SessionServer
from gpupool.agent.sessions import Sessions
from gpupool.agent.vgpus import Vgpus
from gpupool.dataplane import handshake, paths
from gpupool.dataplane.handshake import Error, Hello, Kind
from gpupool.model import errors, whole_file
from gpupool.model.attachment import AttachmentKind, cdi_device
from gpupool.model.report import AttachmentReport, AttachmentSpec

LOG = logging.getLogger(__name__)


@dataclass
class _Attachment:
    spec: AttachmentSpec
    server: SessionServer | None = None
    error: str = ""
    # What opens each of its vGPUs, by id. A program that learnt of one that was taken away meanwhile
    # must not be given another in its place: so it is the vGPU's index in its claim, which the next
    # agent is told too. Where an older conductor tells none it is a number that was not used before.
    ordinals: dict[str, int] = field(default_factory=dict)
    numbered: int = 0

    def renew(self, spec: AttachmentSpec, indexes: Mapping[str, int | None]) -> None:
        """Take what it is to be now; vGPUs that stay keep their ordinals."""
        ordinals = {each: self.ordinals[each] for each in spec.vgpu_ids if each in self.ordinals}
        for vgpu_id in spec.vgpu_ids:
            if vgpu_id not in ordinals:
                index = indexes.get(vgpu_id)
                if index is None or index in ordinals.values():
                    index = self.numbered
                ordinals[vgpu_id] = index
                self.numbered = max(self.numbered, index + 1)
        # At once: programs are answered meanwhile, by other threads.
        self.spec, self.ordinals = spec, ordinals


class Attachments:
    """What exists has a file in ``folders.attachments``; it is made first and removed last."""

    def __init__(self, folders: Folders, vgpus: Vgpus, sessions: Sessions, limited: LimitedLog) -> None:
        self._folders = folders
        self._listing = record.Listing(folders.attachments)
        self._vgpus = vgpus
        self._sessions = sessions
        self._limited = limited
        self._acceptor = Acceptor(limited)
        self._made: dict[str, _Attachment] = {}

    def start(self) -> None:
        """Begin to answer programs. Raises RuntimeError when there are no more threads."""
        self._acceptor.start()

    def ids(self) -> list[str]:
        """Return the attachments that exist, wanted or not."""
        return self._listing.names()

    def known(self) -> list[str]:
        """Return the attachments that exist or could not be made."""
        return sorted({*self.ids(), *self._made})

    def wants_remaking(self, spec: AttachmentSpec) -> bool:
        """Tell whether the attachment exists for another ticket or of another kind.

        An elastic claim's has other vGPUs now and then: programs that start see these, and sessions on
        those that stay go on.
        """
        known = self._made.get(spec.id)
        return known is not None and _essence(known.spec) != _essence(spec)

    def make(self, spec: AttachmentSpec) -> bool:
        """Make the attachment, or what is missing of it; return whether that changed its report."""
        known = spec.id in self._made
        one = self._made.setdefault(spec.id, _Attachment(spec))
        before = (known, self._report(one))
        one.renew(spec, self._vgpus.indexes(spec.vgpu_ids))
        one.error, why = "", ""
        try:
            if not self._listing.has(spec.id):
                (self._folders.attachments / spec.id).touch(mode=0o600)
            self._sessions.allow(spec.id)
            self._serve(one)
            if spec.kind is AttachmentKind.CONTAINER:
                ticket = self._write_ticket(spec)
                content = cdi.spec(spec.id, ticket, self._folders.socket(spec.id))
                cdi.write(self._folders.cdi, spec.id, content)
        except OSError as exc:
            # Its project reads it; the path, which says nothing there, is in the log.
            one.error = f"its host can't make it: {exc.strerror or exc}"
            why = str(exc)
        changed = before != (True, self._report(one))
        if changed and one.error:
            LOG.error("attachment %s can't be made: %s", spec.id, why)
        elif not known:
            LOG.info("attachment %s of claim %s is served", spec.id, spec.claim_id)
        return changed

    def remove(self, attachment_id: str) -> bool:
        """Remove the attachment and end its sessions; False while one of these does not end."""
        one = self._made.get(attachment_id)
        if one:
            self._stop_serving(one)
        cdi.remove(self._folders.cdi, attachment_id)
        record.remove(self._folders.tickets / attachment_id)
        shutil.rmtree(self._folders.run_of(attachment_id), ignore_errors=True)
        left = self._sessions.end(attachment_id)
        if left:
            LOG.error("attachment %s: %d workers do not end", attachment_id, left)
            return False
        (self._folders.attachments / attachment_id).unlink(missing_ok=True)
        self._listing.forget(attachment_id)
        self._made.pop(attachment_id, None)
        LOG.info("attachment %s removed", attachment_id)
        return True

    def stop(self) -> None:
        """Open no more sessions; everything stays."""
        self._acceptor.stop()
        for one in self._made.values():
            self._stop_serving(one)

    def report(self) -> tuple[AttachmentReport, ...]:
        """Return every attachment that exists or could not be made."""
        unknown = [
            AttachmentReport(id=name, generation=0) for name in self.ids() if name not in self._made
        ]
        return (*(self._report(one) for one in self._made.values()), *unknown)

    def _report(self, one: _Attachment) -> AttachmentReport:
        container = one.spec.kind is AttachmentKind.CONTAINER
        return AttachmentReport(
            id=one.spec.id,
            generation=one.spec.generation,
            error=one.error,
            environment={} if container else self._environment(one.spec),
            cdi_device=cdi_device(one.spec.id) if container else None,
        )

    def _environment(self, spec: AttachmentSpec) -> dict[str, str]:
        # Not the ticket: it is secret, the report is not, and the conductor has it.
        return {
            "GPUPOOL_SOCKET": str(self._folders.socket(spec.id)),
            "LD_LIBRARY_PATH": str(paths.RUNTIME.parent),
        }

    def _write_ticket(self, spec: AttachmentSpec) -> Path:
        """Write the ticket, unless it is there, for every user of the container; return where.

        Nobody else of the host reaches it: its folder is the agent's.
        """
        path = self._folders.tickets / spec.id
        content = f"{spec.ticket}\n".encode()
        try:
            if path.read_bytes() == content:
                return path
        except FileNotFoundError:
            pass
        whole_file.write(path, content, mode=0o444)
        return path

    def _serve(self, one: _Attachment) -> None:
        """Start the attachment's server, unless it serves."""
        if one.server and self._acceptor.serves(one.server):
            return
        self._stop_serving(one)
        path = self._folders.socket(one.spec.id)
        server = SessionServer(
            path,
            lambda connection, pid: self._answer(one, connection, pid),
            name=f"attachment {one.spec.id}",
            # A claim each would be one turn for each claim: a project can have many small ones.
            owner=self._vgpus.project(one.spec.vgpu_ids) or one.spec.claim_id,
        )
        self._acceptor.add(server)
        one.server = server

    def _stop_serving(self, one: _Attachment) -> None:
        if one.server:
            self._acceptor.remove(one.server)
            one.server = None

    def _answer(self, one: _Attachment, connection: socket.socket, pid: int) -> None:
        """Speak to a program; see native/wire/handshake.h."""
        try:
            hello = handshake.receive_hello(connection)
        except handshake.HandshakeError as exc:
            self._say(logging.INFO, one.spec, "process %d sent no hello: %s", pid, exc)
            return
        if not hmac.compare_digest(hello.ticket.encode(), one.spec.ticket.encode()):
            self._say(logging.WARNING, one.spec, "process %d has a wrong ticket", pid)
            handshake.send_refusal(connection, Error.NO_DEVICE, "the ticket is not this attachment's")
        elif hello.kind is Kind.OPEN:
            self._open(one, hello, connection, pid)
        else:
            ordinals = one.ordinals
            shares = self._vgpus.shares(ordinals)
            told = [replace(each, ordinal=ordinals[each.id]) for each in shares]
            handshake.send_vgpus(connection, hello.kind, told)

    def _open(self, one: _Attachment, hello: Hello, connection: socket.socket, pid: int) -> None:
        spec = one.spec
        by_ordinal = {ordinal: vgpu_id for vgpu_id, ordinal in one.ordinals.items()}
        if hello.ordinal not in by_ordinal:
            if hello.ordinal < one.numbered:
                error, message = Error.DEVICE_UNAVAILABLE, "the device was taken from the claim"
            else:
                error = Error.INVALID_DEVICE
                message = f"device {hello.ordinal}; allowed: 0 to {one.numbered - 1}"
            handshake.send_refusal(connection, error, message)
            return
        program = Program(spec.id, by_ordinal[hello.ordinal], pid, hello.control)
        try:
            self._sessions.open(program, connection)
        except NotStarted as exc:
            self._say(logging.ERROR, spec, "process %d gets no session: %s", pid, exc)
            handshake.send_failure(connection, Error.DEVICE_UNAVAILABLE, str(exc))
        except errors.GpupoolError as exc:
            self._say(logging.WARNING, spec, "process %d gets no session: %s", pid, exc)
            handshake.send_refusal(connection, Error.DEVICE_UNAVAILABLE, str(exc))

    def _say(self, level: int, spec: AttachmentSpec, message: str, *args: object) -> None:
        """Log what a program did, which may do it again and again."""
        subject = f"attachment {spec.id}"
        self._limited.say(LOG, level, subject, f"%s: {message}", subject, *args)


def _essence(spec: AttachmentSpec) -> tuple[object, ...]:
    return (spec.kind, spec.ticket)
