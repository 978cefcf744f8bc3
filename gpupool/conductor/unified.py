"""Unified limits: what Keystone says that projects may hold, by oslo.limit."""

import logging
import time
from collections.abc import Mapping

from keystoneauth1.exceptions import ClientException
from openstack.exceptions import SDKException
from oslo_config import cfg
from oslo_limit import exception, limit

from gpupool.model import errors
from gpupool.model.quota import Resource

LOG = logging.getLogger(__name__)
# Names of the registered limits. One that is not registered counts as 0, as in all of OpenStack.
NAMES: Mapping[Resource, str] = {resource: f"gpupool_{resource}" for resource in Resource}


class UnifiedLimits:
    """Limits of Keystone, each project's kept for ``[quota] cache_time`` seconds.

    Only the limits are oslo.limit's matter: what is used is counted under a lock of the database, and
    nobody waits for Keystone there.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self._enforcer: limit.Enforcer | None = None
        self._kept: dict[str, tuple[float, dict[Resource, int]]] = {}

    def of(self, project_id: str) -> dict[Resource, int]:
        """Return the limit of every resource; raises Unavailable when Keystone does not tell."""
        now = time.monotonic()
        kept = self._kept
        if project_id not in kept or kept[project_id][0] <= now:
            fresh = {key: value for key, value in kept.items() if value[0] > now}
            self._kept = kept = {
                **fresh,
                project_id: (now + self._conf.quota.cache_time, self._ask(project_id)),
            }
        return kept[project_id][1]

    def _ask(self, project_id: str) -> dict[Resource, int]:
        try:
            if self._enforcer is None:
                self._enforcer = _connect(self._conf)
            found = dict(self._enforcer.get_project_limits(project_id, list(NAMES.values())))
        except (exception.SessionInitError, SDKException, ClientException, ValueError) as exc:
            # oslo.limit raises ValueError for a catalogue that has not one endpoint of ours.
            LOG.error("Keystone does not tell the limits of project %s: %s", project_id, exc)
            raise errors.Unavailable("the project's limits can't be read from Keystone") from exc
        return {resource: found[name] for resource, name in NAMES.items()}


def _connect(conf: cfg.ConfigOpts) -> limit.Enforcer:
    # oslo.limit reads the global configuration only: it gets the files that ours was read from.
    cfg.CONF([], default_config_files=conf.config_file, default_config_dirs=conf.config_dir)
    return limit.Enforcer(lambda _project_id, _names: {}, cache=False)
