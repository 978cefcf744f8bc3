"""``/v1/usage``."""

from dataclasses import replace

from sqlalchemy.orm import Session

from gpupool.api import views
from gpupool.api.controller import Controller, Json
from gpupool.api.request import Request
from gpupool.api.v1.schemas import usage as schemas
from gpupool.db import claims, usage


class Usage(Controller):
    """What pools hold, what is granted of it, and to whom."""

    def get_all(self, request: Request) -> Json:
        """Show every pool, and every project, or one that the query names or the caller may not exceed.

        Of one project all are told how full pools are, and of claims only how many are the project's.
        """
        self.services.authorize(request, "usage:get")
        own = request.caller.project_id
        wanted = request.checked_query(schemas.SHOW).get("project_id")
        if wanted is None:
            wanted = None if self.services.may(request, "usage:get_all") else own
        elif wanted != own:
            self.services.authorize(request, "usage:get_all")
        with self.services.database.reader() as session:
            pools = [_of(session, pool, wanted) for pool in usage.by_pool(session)]
            projects = usage.by_project(session, wanted)
        return {
            "pools": [views.plain(pool) for pool in pools],
            "projects": [views.plain(project) for project in projects],
        }


def _of(session: Session, pool: usage.PoolUsage, project_id: str | None) -> usage.PoolUsage:
    """Return ``pool`` with the claims of one project only, or as it is."""
    if project_id is None:
        return pool
    counted = claims.count_by_state(session, pool_id=pool.pool_id, project_id=project_id)
    return replace(pool, claims=counted)
