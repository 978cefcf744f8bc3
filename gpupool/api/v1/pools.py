"""``/v1/pools``."""

import uuid

from gpupool.api import views
from gpupool.api.controller import Answer, Controller, Json
from gpupool.api.listing import Listing
from gpupool.api.request import Request
from gpupool.api.v1.schemas import pool as schemas
from gpupool.db import pools
from gpupool.model import wire
from gpupool.model.pool import Pool, PoolChange


class Pools(Controller):
    """Pools, by name or id."""

    def get_all(self, request: Request) -> Json:
        """List pools."""
        self.services.authorize(request, "pools:get")
        listing = Listing.of(self.services, request, schemas.LIST)
        with self.services.database.reader() as session:
            found, more = listing.read(session, pools.list_)
        return listing.body("pools", [views.plain(pool) for pool in found], more)

    def get_one(self, request: Request, name_or_id: str) -> Json:
        """Show a pool."""
        self.services.authorize(request, "pools:get")
        return views.plain(self._find(name_or_id))

    def post(self, request: Request) -> Answer:
        """Create a pool."""
        self.services.authorize(request, "pools:create")
        body = request.checked_body(schemas.CREATE)
        pool = wire.load(Pool, {"id": str(uuid.uuid4()), **body})
        return Answer(201, views.plain(self.services.conductor.create_pool(request.caller, pool)))

    def patch(self, request: Request, name_or_id: str) -> Json:
        """Change a pool."""
        self.services.authorize(request, "pools:update")
        change = wire.load(PoolChange, request.checked_body(schemas.UPDATE))
        pool = self._find(name_or_id)
        return views.plain(self.services.conductor.update_pool(request.caller, pool.id, change))

    def delete(self, request: Request, name_or_id: str) -> Answer:
        """Delete a pool."""
        self.services.authorize(request, "pools:delete")
        self.services.conductor.delete_pool(request.caller, self._find(name_or_id).id)
        return Answer(204)

    def _find(self, name_or_id: str) -> Pool:
        with self.services.database.reader() as session:
            return pools.find(session, name_or_id)
