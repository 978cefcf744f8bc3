"""``/v1/claims``."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from gpupool.api import views
from gpupool.api.controller import Answer, Controller, Json, made_as
from gpupool.api.listing import Listing
from gpupool.api.request import Request
from gpupool.api.v1.schemas import claim as schemas
from gpupool.db import claims, pools
from gpupool.model import errors, wire
from gpupool.model.claim import PRIORITY_DEFAULT, Claim, ClaimChange, ClaimRequest

# What only operators may know of a claim: it names hosts and claims of others.
DETAILS: Json = {"state_detail": None, "refused_by": []}


class Claims(Controller):
    """Claims of the caller's project, by id."""

    def get_all(self, request: Request) -> Json:
        """List claims."""
        listing = Listing.of_projects(self.services, request, schemas.LIST, "claims")
        with self.services.database.reader() as session:
            listing.resolve(session, "pool", pools.list_)
            page, more = listing.read(session, claims.list_)
        return listing.body("claims", self._views(request, page), more)

    def get_one(self, request: Request, claim_id: str) -> Json:
        """Show a claim."""
        return self._view(request, self._find(request, claim_id, "claims:get"))

    def post(self, request: Request) -> Answer:
        """Create a claim, queued when this answers; with the id of one of the project, show that."""
        self.services.authorize(request, "claims:create")
        claim_id, body = request.checked_new(schemas.CREATE)
        self._authorize_priority(request, body, request.caller.project_id)
        wanted = wire.load(ClaimRequest, _with_time(body))
        with made_as("claim", claim_id):
            claim = self.services.conductor.create_claim(request.caller, claim_id, wanted)
            return Answer(201, self._view(request, claim))

    def patch(self, request: Request, claim_id: str) -> Json:
        """Change a claim's name, priority or lease."""
        claim = self._find(request, claim_id, "claims:update")
        body = request.checked_body(schemas.UPDATE)
        self._authorize_priority(request, body, claim.project_id, claim.priority)
        return self._change(request, claim, body)

    def delete(self, request: Request, claim_id: str) -> Answer:
        """Release a claim; it may take a moment until it is released."""
        return self._release(request, claim_id)

    def action(self, request: Request, claim_id: str) -> Json | Answer:
        """Release a claim, or extend its lease."""
        self._find(request, claim_id, "claims:release", "claims:update")
        body = request.checked_body(schemas.ACTION)
        if "release" in body:
            return self._release(request, claim_id)
        claim = self._find(request, claim_id, "claims:update")
        _check_later(claim, views.time(body["extend"]["lease_end"]))
        return self._change(request, claim, body["extend"])

    def _authorize_priority(
        self, request: Request, body: Json, project_id: str | None, current: int = PRIORITY_DEFAULT
    ) -> None:
        """Raise Forbidden when the caller may not put the claim before those of other projects."""
        most = max(PRIORITY_DEFAULT, current)
        if body.get("priority", 0) <= most:
            return
        try:
            self.services.authorize(request, "claims:set_high_priority", project_id=project_id)
        except errors.Forbidden as exc:
            raise errors.Forbidden(f"{exc.message}; allowed: a priority of 0 to {most}") from exc

    def _release(self, request: Request, claim_id: str) -> Answer:
        claim = self._find(request, claim_id, "claims:release")
        released = self.services.conductor.release_claim(request.caller, claim.id)
        return Answer(202, self._view(request, released))

    def _change(self, request: Request, claim: Claim, body: dict[str, Any]) -> Json:
        remove = "lease_end" in body and body["lease_end"] is None
        change = wire.load(ClaimChange, {**_with_time(body), "remove_lease": remove})
        changed = self.services.conductor.update_claim(request.caller, claim.id, change)
        return self._view(request, changed)

    def _find(self, request: Request, claim_id: str, *rules: str) -> Claim:
        """Return the claim; raises Forbidden unless the caller may do one of ``rules`` to it."""
        with self.services.database.reader() as session:
            claim = claims.get(session, claim_id)
        self.services.authorize_owned(request, "claim", claim, *rules)
        return claim

    def _view(self, request: Request, claim: Claim) -> Json:
        return self._views(request, [claim])[0]

    def _views(self, request: Request, found: Sequence[Claim]) -> list[Json]:
        """Return claims, less what only operators may know of them."""
        with self.services.database.reader() as session:
            shown = views.with_pool(session, found)
        projects = {claim.project_id for claim in found}
        open_ = {each for each in projects if self.services.may(request, "claims:get_detail", each)}
        return [view if view["project_id"] in open_ else {**view, **DETAILS} for view in shown]


def _with_time(body: dict[str, Any]) -> dict[str, Any]:
    """Return ``body`` with its time as messages carry times."""
    if body.get("lease_end") is None:
        return body
    return {**body, "lease_end": views.time(body["lease_end"]).isoformat()}


def _check_later(claim: Claim, lease_end: datetime) -> None:
    """Raise Invalid unless ``lease_end`` extends the claim's lease."""
    if claim.lease_end is None:
        raise errors.Invalid(f"claim {claim.id} has no lease end to extend; PATCH can set one")
    if lease_end < claim.lease_end:
        raise errors.Invalid(
            f"extend.lease_end is {lease_end}; allowed: from {claim.lease_end}, its end now"
        )
