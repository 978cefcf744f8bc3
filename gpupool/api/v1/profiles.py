"""``/v1/profiles``."""

import uuid

from gpupool.api import views
from gpupool.api.controller import Answer, Controller, Json
from gpupool.api.listing import Listing
from gpupool.api.request import Request
from gpupool.api.v1.schemas import profile as schemas
from gpupool.db import profiles
from gpupool.model import errors, wire
from gpupool.model.claim import PRIORITY_DEFAULT, Tier
from gpupool.model.profile import Profile


class Profiles(Controller):
    """Profiles, by name or id."""

    def get_all(self, request: Request) -> Json:
        """List profiles."""
        self.services.authorize(request, "profiles:get")
        listing = Listing.of(self.services, request, schemas.LIST)
        with self.services.database.reader() as session:
            found, more = listing.read(session, profiles.list_)
        return listing.body("profiles", [views.plain(profile) for profile in found], more)

    def get_one(self, request: Request, name_or_id: str) -> Json:
        """Show a profile."""
        self.services.authorize(request, "profiles:get")
        return views.plain(self._find(name_or_id))

    def post(self, request: Request) -> Answer:
        """Create a profile."""
        self.services.authorize(request, "profiles:create")
        body = request.checked_body(schemas.CREATE)
        _check_counts(body)
        defaults = {"tier": Tier.POOL, "priority": PRIORITY_DEFAULT}
        profile = wire.load(Profile, {"id": str(uuid.uuid4()), **defaults, **body})
        return Answer(201, views.plain(self.services.conductor.create_profile(request.caller, profile)))

    def patch(self, request: Request, name_or_id: str) -> Json:
        """Change a profile; claims made from it stay as they are."""
        self.services.authorize(request, "profiles:update")
        changes = request.checked_body(schemas.UPDATE)
        _check_counts(changes)
        profile = self._find(name_or_id)
        return views.plain(self.services.conductor.update_profile(request.caller, profile.id, changes))

    def delete(self, request: Request, name_or_id: str) -> Answer:
        """Delete a profile."""
        self.services.authorize(request, "profiles:delete")
        self.services.conductor.delete_profile(request.caller, self._find(name_or_id).id)
        return Answer(204)

    def _find(self, name_or_id: str) -> Profile:
        with self.services.database.reader() as session:
            return profiles.find(session, name_or_id)


def _check_counts(body: Json) -> None:
    """Raise Invalid for both a number of vGPUs and a range."""
    if "count" in body and body.keys() & {"min_count", "max_count"}:
        raise errors.Invalid("count is given beside min_count and max_count; allowed: either")
