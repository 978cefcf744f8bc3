"""The attachments of this host: where programs ask for sessions, and what containers are given."""

import hmac
import logging
import shutil
import socket
from dataclasses import dataclass

from gpupool.agent import cdi, record
from gpupool.agent.folders import Folders
from gpupool.agent.limited_log import LimitedLog
from gpupool.agent.server import Acceptor, SessionServer
from gpupool.agent.sessions import NotStarted, Program, Sessions
from gpupool.agent.vgpus import Vgpus
from gpupool.dataplane import handshake, paths
from gpupool.dataplane.handshake import Error, Hello, Kind
from gpupool.model import errors
from gpupool.model.attachment import AttachmentKind, cdi_device
from gpupool.model.report import AttachmentReport, AttachmentSpec

LOG = logging.getLogger(__name__)


@dataclass
class _Attachment:
    spec: AttachmentSpec
    server: SessionServer | None = None
    error: str = ""


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
        """Tell whether the attachment exists for other vGPUs, another ticket or another kind."""
        known = self._made.get(spec.id)
        return known is not None and _essence(known.spec) != _essence(spec)

    def make(self, spec: AttachmentSpec) -> bool:
        """Make the attachment, or what is missing of it; return whether that changed its report."""
        known = spec.id in self._made
        one = self._made.setdefault(spec.id, _Attachment(spec))
        before = (known, self._report(one))
        one.spec, one.error = spec, ""
        try:
            if not self._listing.has(spec.id):
                (self._folders.attachments / spec.id).touch(mode=0o600)
            self._sessions.allow(spec.id)
            self._serve(one)
            if spec.kind is AttachmentKind.CONTAINER:
                content = cdi.spec(spec.id, spec.ticket, self._folders.socket(spec.id))
                cdi.write(self._folders.cdi, spec.id, content)
        except OSError as exc:
            one.error = f"attachment can't be made: {exc}"
        changed = before != (True, self._report(one))
        if changed and one.error:
            LOG.error("attachment %s: %s", spec.id, one.error)
        elif not known:
            LOG.info("attachment %s of claim %s is served", spec.id, spec.claim_id)
        return changed

    def remove(self, attachment_id: str) -> bool:
        """Remove the attachment and end its sessions; False while one of these does not end."""
        one = self._made.get(attachment_id)
        if one:
            self._stop_serving(one)
        cdi.remove(self._folders.cdi, attachment_id)
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

    def _serve(self, one: _Attachment) -> None:
        """Have a server that serves."""
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
        elif hello.kind is Kind.LIST:
            handshake.send_welcome(connection, self._vgpus.shares(one.spec.vgpu_ids))
        else:
            self._open(one.spec, hello, connection, pid)

    def _open(self, spec: AttachmentSpec, hello: Hello, connection: socket.socket, pid: int) -> None:
        count = len(spec.vgpu_ids)
        if hello.ordinal >= count:
            message = f"device {hello.ordinal}; allowed: 0 to {count - 1}"
            handshake.send_refusal(connection, Error.INVALID_DEVICE, message)
            return
        program = Program(spec.id, spec.vgpu_ids[hello.ordinal], pid)
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
    return (spec.kind, spec.ticket, spec.vgpu_ids)
