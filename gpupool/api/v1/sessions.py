"""``/v1/sessions``."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session as Transaction

from gpupool.api import views
from gpupool.api.controller import Answer, Controller, Json
from gpupool.api.listing import Listing
from gpupool.api.request import Request
from gpupool.api.v1.schemas import session as schemas
from gpupool.db import attachments, session_ends, sessions
from gpupool.model import errors
from gpupool.model.session import Session
from gpupool.model.states import SessionState


@dataclass(frozen=True)
class _Owned:
    """A session and the project of its attachment."""

    id: str
    project_id: str


class Sessions(Controller):
    """Sessions of the caller's project, by id. Programs make them."""

    def get_all(self, request: Request) -> Json:
        """List sessions."""
        listing = Listing.of_projects(self.services, request, schemas.LIST, "sessions")
        with self.services.database.reader() as session:
            listing.resolve_host(session)
            page, more = listing.read(session, sessions.list_)
            return listing.body("sessions", _views(session, page), more)

    def get_one(self, request: Request, session_id: str) -> Json:
        """Show a session."""
        with self.services.database.reader() as session:
            found = self._find(session, request, "sessions:get", session_id)
            return _views(session, [found])[0]

    def delete(self, request: Request, session_id: str) -> Answer:
        """End a session; it is there until its host, which may be silent, shows that it has ended."""
        with self.services.database.reader() as session:
            found = self._find(session, request, "sessions:delete", session_id)
        self.services.conductor.delete_session(request.caller, found.id)
        with self.services.database.reader() as session:
            (view,) = _views(session, [found])
        return Answer(202, {**view, "state": SessionState.ENDING})

    def _find(self, session: Transaction, request: Request, rule: str, session_id: str) -> Session:
        found = sessions.get(session, session_id)
        owners = attachments.list_(session, {"id": found.attachment_id})
        if not owners:
            # It ended with its attachment; its host has not reported since.
            raise errors.NotFound(f"session {session_id} not found")
        self.services.authorize_owned(request, "session", _Owned(found.id, owners[0].project_id), rule)
        return found


def _views(session: Transaction, found: Sequence[Session]) -> list[Json]:
    """Return sessions with the names of their hosts, and whether they are to end."""
    wanted = session_ends.list_(session, {"id": [each.id for each in found]})
    ending = {each.id for each in wanted}
    return [
        {**view, "state": SessionState.ENDING if view["id"] in ending else SessionState.LIVE}
        for view in views.with_host(session, found)
    ]
