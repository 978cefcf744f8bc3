"""Sessions as hosts report them, and those that are to end: a host is told so until it has ended them.

What a host should end is part of what it should have: a host that is silent is told when it comes back,
an agent that is restarted again, and one that was asked twice ends it once.
"""

from collections.abc import Sequence

from gpupool.conductor.transaction import Transaction
from gpupool.db import session_ends, sessions
from gpupool.model.attachment import Attachment
from gpupool.model.host import Host
from gpupool.model.report import HostReport
from gpupool.model.session import Session, SessionEnd
from gpupool.model.vgpu import Vgpu


def end(transaction: Transaction, session_id: str) -> None:
    """Tell a session's host to end it; nothing happens if that is under way. Raises NotFound."""
    session = transaction.session
    found = sessions.get(session, session_id)
    if session_ends.list_(session, {"id": session_id}):
        return
    generation = transaction.touch(found.host_id)
    session_ends.create(session, SessionEnd(id=session_id, host_id=found.host_id, generation=generation))


def write_ends(transaction: Transaction, host_id: str, report: HostReport) -> Sequence[SessionEnd]:
    """Return the sessions that a host still has to end, after a report of its; forget the others.

    Only a report of the generation that told it so, or of a later one, shows that a session has ended:
    what an older one does not list may be there.
    """
    wanted = session_ends.list_(transaction.session, {"host_id": host_id})
    listed = {each.id for each in report.sessions}
    over = {each.id for each in wanted if each.generation <= report.generation} - listed
    session_ends.delete_all(transaction.session, over)
    return [each for each in wanted if each.id not in over]


def write(
    transaction: Transaction,
    host: Host,
    report: HostReport,
    held: Sequence[Vgpu],
    attached: Sequence[Attachment],
) -> None:
    """Write the sessions of the host's own attachments; others would be shown to other projects.

    A host may list one whose attachment was just deleted here; it lists it no more when it has looked.
    """
    claim_of = {vgpu.id: vgpu.claim_id for vgpu in held}
    own = {attachment.id: attachment.claim_id for attachment in attached}
    seen = [
        Session(host_id=host.id, **vars(each))
        for each in report.sessions
        if each.attachment_id in own and own[each.attachment_id] == claim_of.get(each.vgpu_id)
    ]
    before = sessions.list_(transaction.session, {"host_id": host.id})
    if sorted(seen, key=lambda one: one.id) != sorted(before, key=lambda one: one.id):
        sessions.replace(transaction.session, host.id, seen)
