"""``/v1/pools``."""

import uuid
from collections.abc import Sequence

from gpupool.api import views
from gpupool.api.controller import Answer, Controller, Json
from gpupool.api.listing import Listing
from gpupool.api.request import Request
from gpupool.api.v1.schemas import pool as schemas
from gpupool.db import pools
from gpupool.model import wire
from gpupool.model.pool import Pool, PoolChange
from gpupool.model.proposed_move import ProposedMove


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
        body = request.checked_body(schemas.UPDATE)
        remove = "min_run_time" in body and body["min_run_time"] is None
        change = wire.load(PoolChange, {**body, "remove_min_run_time": remove})
        pool = self._find(name_or_id)
        return views.plain(self.services.conductor.update_pool(request.caller, pool.id, change))

    def delete(self, request: Request, name_or_id: str) -> Answer:
        """Delete a pool."""
        self.services.authorize(request, "pools:delete")
        self.services.conductor.delete_pool(request.caller, self._find(name_or_id).id)
        return Answer(204)

    def action(self, request: Request, name_or_id: str) -> Answer:
        """Move vGPUs so that more of the pool's room is in one piece, or tell only which."""
        self.services.authorize(request, "pools:defragment")
        wanted = request.checked_body(schemas.ACTION)["defragment"]
        dry_run = wanted.get("dry_run", False)
        pool = self._find(name_or_id)
        moves = self.services.conductor.defragment(request.caller, pool.id, dry_run, wanted.get("limit"))
        return Answer(200 if dry_run else 202, {"moves": self._moves(moves)})

    def _moves(self, moves: Sequence[ProposedMove]) -> list[Json]:
        ids = [device_id for move in moves for device_id in (move.from_device, move.to_device)]
        with self.services.database.reader() as session:
            names = views.device_names(session, ids)
        return [
            {
                **views.plain(move),
                "from_device_id": move.from_device,
                "from_device": names.get(move.from_device),
                "to_device_id": move.to_device,
                "to_device": names.get(move.to_device),
            }
            for move in moves
        ]

    def _find(self, name_or_id: str) -> Pool:
        with self.services.database.reader() as session:
            return pools.find(session, name_or_id)
