"""``/v1/hosts``."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from gpupool.api import views
from gpupool.api.controller import Answer, Controller, Json
from gpupool.api.listing import Listing, found
from gpupool.api.request import Request
from gpupool.api.v1.schemas import host as schemas
from gpupool.db import hosts, pools
from gpupool.model.host import Host


class Hosts(Controller):
    """Hosts, by name or id. Agents make them by reporting."""

    def get_all(self, request: Request) -> Json:
        """List hosts."""
        self.services.authorize(request, "hosts:get")
        listing = Listing.of(self.services, request, schemas.LIST)
        with self.services.database.reader() as session:
            listing.resolve(session, "pool", pools.list_)
            page, more = listing.read(session, hosts.list_)
            return listing.body("hosts", _views(session, page), more)

    def get_one(self, request: Request, name_or_id: str) -> Json:
        """Show a host."""
        self.services.authorize(request, "hosts:get")
        with self.services.database.reader() as session:
            return _views(session, [hosts.find(session, name_or_id)])[0]

    def patch(self, request: Request, name_or_id: str) -> Json:
        """Move a host to another pool."""
        self.services.authorize(request, "hosts:update")
        body = request.checked_body(schemas.UPDATE)
        with self.services.database.reader() as session:
            host = hosts.find(session, name_or_id)
            pool = found(session, "pool", body["pool"], pools.find)
        moved: Host = self.services.conductor.set_host_pool(request.caller, host.id, pool.id)
        with self.services.database.reader() as session:
            return _views(session, [moved])[0]

    def delete(self, request: Request, name_or_id: str) -> Answer:
        """Forget a host."""
        self.services.authorize(request, "hosts:delete")
        with self.services.database.reader() as session:
            host = hosts.find(session, name_or_id)
        self.services.conductor.delete_host(request.caller, host.id)
        return Answer(204)


def _views(session: Session, found: Sequence[Host]) -> list[Json]:
    """Return hosts less their revision, which only conductors' views in memory need."""
    shown = views.with_pool(session, found)
    return [{key: value for key, value in view.items() if key != "revision"} for view in shown]
