"""``/v1/quotas``."""

from gpupool.api import views
from gpupool.api.controller import Controller, Json
from gpupool.api.request import Request
from gpupool.api.v1.schemas import quota as schemas
from gpupool.model import errors


class Quotas(Controller):
    """What a project may hold, and what it does."""

    def get_all(self, request: Request) -> Json:
        """Show limit and use of every resource, of the caller's project or of another."""
        self.services.authorize(request, "quotas:get")
        own = request.caller.project_id
        project_id = request.checked_query(schemas.LIST).get("project_id", own)
        if not project_id:
            raise errors.Invalid("project_id is missing; the request is for no project")
        if project_id != own:
            self.services.authorize(request, "quotas:get_all")
        found = self.services.conductor.show_quotas(request.caller, project_id)
        return {"quotas": [views.plain(quota) for quota in found]}
