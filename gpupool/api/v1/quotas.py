"""``/v1/quotas``."""

from gpupool.api import views
from gpupool.api.controller import Controller, Json
from gpupool.api.listing import Listing
from gpupool.api.request import Request
from gpupool.api.v1.schemas import quota as schemas
from gpupool.model import errors


class Quotas(Controller):
    """What projects may hold, and what they do."""

    def get_all(self, request: Request) -> Json:
        """Show limit and use of every resource, of the caller's project, of another or of all."""
        self.services.authorize(request, "quotas:get")
        listing = Listing.of(self.services, request, schemas.LIST)
        own, wanted = request.caller.project_id, listing.filters.get("project_id")
        if listing.filters.get("all_projects", False):
            if wanted:
                raise errors.Invalid("all_projects is true; not allowed with project_id")
            return self._of_all(request, listing)
        if listing.marker:
            raise errors.Invalid("marker is of a list of all projects; give all_projects=true with it")
        project_id = wanted or own
        if not project_id:
            raise errors.Invalid("project_id is missing; the request is for no project")
        if project_id != own:
            self.services.authorize(request, "quotas:get_all")
        found = self.services.conductor.show_quotas(request.caller, project_id)
        return listing.body("quotas", [views.plain(quota) for quota in found], more=False)

    def _of_all(self, request: Request, listing: Listing) -> Json:
        """Show those of every project: the page's limit counts projects, its marker is one."""
        self.services.authorize(request, "quotas:get_all")
        conductor = self.services.conductor
        found = conductor.list_quotas(request.caller, listing.marker or "", listing.limit + 1)
        projects = list(dict.fromkeys(quota.project_id for quota in found))
        page = projects[: listing.limit]
        shown = [views.plain(quota) for quota in found if quota.project_id in page]
        return listing.body("quotas", shown, len(projects) > len(page), marker="project_id")
