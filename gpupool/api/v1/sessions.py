"""``/v1/sessions``."""

from gpupool.api import views
from gpupool.api.controller import Controller, Json
from gpupool.api.listing import Listing
from gpupool.api.request import Request
from gpupool.api.v1.schemas import session as schemas
from gpupool.db import attachments, sessions


class Sessions(Controller):
    """Sessions of the caller's project. Programs make them."""

    def get_all(self, request: Request) -> Json:
        """List sessions."""
        listing = Listing.of(self.services, request, schemas.LIST)
        listing.own("sessions")
        owner = listing.filters.pop("project_id", None)
        with self.services.database.reader() as session:
            if owner is not None:
                owned = attachments.list_(session, {"project_id": owner})
                listing.narrow("attachment_id", [attachment.id for attachment in owned])
            listing.resolve_host(session)
            page, more = listing.read(session, sessions.list_)
            return listing.body("sessions", views.with_host(session, page), more)
