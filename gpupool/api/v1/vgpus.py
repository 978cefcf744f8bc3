"""``/v1/vgpus``."""

from gpupool.api import views
from gpupool.api.controller import Controller, Json
from gpupool.api.listing import Listing
from gpupool.api.request import Request
from gpupool.api.v1.schemas import vgpu as schemas
from gpupool.db import vgpus


class Vgpus(Controller):
    """VGPUs of the caller's project, by id. Claims make them."""

    def get_all(self, request: Request) -> Json:
        """List vGPUs."""
        listing = Listing.of_projects(self.services, request, schemas.LIST, "vgpus")
        with self.services.database.reader() as session:
            listing.resolve_host(session)
            page, more = listing.read(session, vgpus.list_)
            return listing.body("vgpus", views.with_device(session, page), more)

    def get_one(self, request: Request, vgpu_id: str) -> Json:
        """Show a vGPU."""
        with self.services.database.reader() as session:
            vgpu = vgpus.get(session, vgpu_id)
            self.services.authorize_owned(request, "vgpu", vgpu, "vgpus:get")
            return views.with_device(session, [vgpu])[0]
