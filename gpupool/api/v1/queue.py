"""``/v1/queue``."""

from collections.abc import Sequence

from gpupool.api import views
from gpupool.api.controller import Controller, Json
from gpupool.api.listing import Listing, found
from gpupool.api.request import Request
from gpupool.api.v1.schemas import queue as schemas
from gpupool.db import claims, pools
from gpupool.model import errors
from gpupool.model.pool import DEFAULT_POOL
from gpupool.model.queue import QueueEntry


class Queue(Controller):
    """The claims that wait in one pool."""

    def get_all(self, request: Request) -> Json:
        """Show the caller's claims that wait, or with ``all_projects`` all, the next one first.

        Everybody's claims count for a position.
        """
        self.services.authorize(request, "queue:get")
        listing = Listing.of(self.services, request, schemas.LIST)
        everything = listing.filters.get("all_projects", False)
        if everything:
            self.services.authorize(request, "queue:get_all")
        with self.services.database.reader() as session:
            pool = found(session, "pool", listing.filters.get("pool", DEFAULT_POOL), pools.find)
        waiting = self.services.conductor.show_queue(request.caller, pool.id)
        own = request.caller.project_id
        shown = [entry for entry in waiting if everything or entry.project_id == own]
        left = shown[_start(shown, listing.marker) :]
        page = self._views(request, left[: listing.limit])
        more = len(left) > listing.limit and bool(page)
        body = listing.body("queue", page, more, marker="claim_id")
        return {"pool_id": pool.id, "length": len(waiting), **body}

    def _views(self, request: Request, shown: Sequence[QueueEntry]) -> list[Json]:
        """Return entries with what their claims say; a claim that left the queue just now has none."""
        with self.services.database.reader() as session:
            waiting = claims.list_(session, {"id": [entry.claim_id for entry in shown]})
        known = {claim.id: claim for claim in waiting}
        projects = {entry.project_id for entry in shown}
        open_ = {each for each in projects if self.services.may(request, "claims:get_detail", each)}
        return [
            {
                **views.plain(entry),
                **({} if entry.project_id in open_ else {"detail": None}),
                **views.some(known[entry.claim_id], "name", "priority", "created_at"),
            }
            for entry in shown
            if entry.claim_id in known
        ]


def _start(shown: Sequence[QueueEntry], marker: str | None) -> int:
    """Return where the page after ``marker`` begins; raises Invalid when that claim is not shown."""
    if marker is None:
        return 0
    for number, entry in enumerate(shown, start=1):
        if entry.claim_id == marker:
            return number
    raise errors.Invalid(f"marker is '{marker}', which does not wait here now; list from the start")
