"""``/v1/usage``."""

from dataclasses import replace

from sqlalchemy.orm import Session

from gpupool.api import views
from gpupool.api.controller import Controller, Json
from gpupool.api.request import Request
from gpupool.api.v1.schemas import common
from gpupool.db import claims, usage


class Usage(Controller):
    """What pools hold, what is granted of it, and to whom."""

    def get_all(self, request: Request) -> Json:
        """Show every pool, and every project or, to those who may not see others, their own.

        Those are told how full pools are, but of claims only how many are their own.
        """
        self.services.authorize(request, "usage:get")
        request.checked_query(common.EMPTY)
        own = None if self.services.may(request, "usage:get_all") else request.caller.project_id
        with self.services.database.reader() as session:
            pools = [_own(session, pool, own) for pool in usage.by_pool(session)]
            projects = usage.by_project(session, own)
        return {
            "pools": [views.plain(pool) for pool in pools],
            "projects": [views.plain(project) for project in projects],
        }


def _own(session: Session, pool: usage.PoolUsage, project_id: str | None) -> usage.PoolUsage:
    """Return ``pool`` with the claims of one project only, or as it is."""
    if project_id is None:
        return pool
    counted = claims.count_by_state(session, pool_id=pool.pool_id, project_id=project_id)
    return replace(pool, claims=counted)
