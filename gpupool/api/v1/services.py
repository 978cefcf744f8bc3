"""``/v1/services``."""

from gpupool.api import views
from gpupool.api.controller import Controller, Json
from gpupool.api.listing import Listing
from gpupool.api.request import Request
from gpupool.api.v1.schemas import service as schemas
from gpupool.db import services


class Services(Controller):
    """Running processes. Each makes its own; agents are seen by their hosts' reports."""

    def get_all(self, request: Request) -> Json:
        """List services."""
        self.services.authorize(request, "services:get")
        listing = Listing.of(self.services, request, schemas.LIST)
        with self.services.database.reader() as session:
            page, more = listing.read(session, services.list_)
        return listing.body("services", [views.plain(each) for each in page], more)
