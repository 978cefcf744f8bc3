"""Sessions that are to end: their hosts are told so, until a report shows that they have ended.

What a host should end is part of what it should have: a host that is silent is told when it comes back,
an agent that is restarted again, and one that was asked twice ends it once.
"""

from collections.abc import Sequence

from gpupool.conductor.transaction import Transaction
from gpupool.db import session_ends, sessions
from gpupool.model.report import HostReport
from gpupool.model.session import SessionEnd


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
