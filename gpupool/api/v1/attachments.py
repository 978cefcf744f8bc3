"""``/v1/attachments``."""

from collections.abc import Sequence

from gpupool.api import views
from gpupool.api.controller import Answer, Controller, Json, made_as
from gpupool.api.listing import Listing
from gpupool.api.request import Request
from gpupool.api.v1.schemas import attachment as schemas
from gpupool.db import attachments, claims
from gpupool.model import errors, wire
from gpupool.model.attachment import Attachment, AttachmentRequest

TICKET = "GPUPOOL_TICKET"
# What lets a program use the vGPUs; the environment holds the ticket too.
SECRETS: Json = {"ticket": None, "environment": {}}


class Attachments(Controller):
    """Attachments of the caller's project, by id."""

    def get_all(self, request: Request) -> Json:
        """List attachments."""
        listing = Listing.of_projects(self.services, request, schemas.LIST, "attachments")
        with self.services.database.reader() as session:
            listing.resolve_host(session)
            page, more = listing.read(session, attachments.list_)
        # The ticket is shown by its attachment alone, not to whoever lists many.
        shown = [_without_ticket(view) for view in self._views(request, page)]
        return listing.body("attachments", shown, more)

    def get_one(self, request: Request, attachment_id: str) -> Json:
        """Show an attachment."""
        found = self._find(request, "attachments:get", attachment_id)
        return self._views(request, [found])[0]

    def post(self, request: Request) -> Answer:
        """Attach a claim, pending when this answers; with the id of one of its own, show that."""
        # Of the claim's project, which the body names, below.
        self.services.authorize(request, "attachments:create")
        attachment_id, body = request.checked_new(schemas.CREATE)
        wanted = wire.load(AttachmentRequest, body)
        with self.services.database.reader() as session:
            claim = claims.get(session, wanted.claim_id)
        self.services.authorize_owned(request, "claim", claim, "attachments:create")
        with made_as("attachment", attachment_id):
            made = self.services.conductor.create_attachment(request.caller, attachment_id, wanted)
            if made.claim_id != claim.id:
                raise errors.Conflict(f"attachment id {attachment_id} is taken")
        with self.services.database.reader() as session:
            # For its secrets, which no message has.
            shown = attachments.get(session, made.id)
        return Answer(201, self._views(request, [shown])[0])

    def delete(self, request: Request, attachment_id: str) -> Answer:
        """Take an attachment away."""
        found = self._find(request, "attachments:delete", attachment_id)
        self.services.conductor.delete_attachment(request.caller, found.id)
        return Answer(204)

    def _find(self, request: Request, rule: str, attachment_id: str) -> Attachment:
        with self.services.database.reader() as session:
            found = attachments.get(session, attachment_id)
        self.services.authorize_owned(request, "attachment", found, rule)
        return found

    def _views(self, request: Request, found: Sequence[Attachment]) -> list[Json]:
        with self.services.database.reader() as session:
            shown = views.with_host(session, found)
        return [
            view
            if self.services.may(request, "attachments:get_ticket", view["project_id"])
            else {**view, **SECRETS}
            for view in shown
        ]


def _without_ticket(view: Json) -> Json:
    environment = {name: value for name, value in view["environment"].items() if name != TICKET}
    return {**view, "ticket": None, "environment": environment}
