"""``/v1/sessions``."""

from gpupool.api import views
from gpupool.api.controller import Controller, Json
from gpupool.api.listing import Listing
from gpupool.api.request import Request
from gpupool.api.v1.schemas import session as schemas
from gpupool.db import sessions


class Sessions(Controller):
    """Sessions of the caller's project. Programs make them."""

    def get_all(self, request: Request) -> Json:
        """List sessions."""
        listing = Listing.of(self.services, request, schemas.LIST)
        listing.own("sessions")
        with self.services.database.reader() as session:
            listing.resolve_host(session)
            page, more = listing.read(session, sessions.list_)
            return listing.body("sessions", views.with_host(session, page), more)
