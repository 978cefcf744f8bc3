"""Unified limits: what Keystone says that projects may hold, by oslo.limit."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from keystoneauth1.exceptions import ClientException
from openstack.exceptions import SDKException
from oslo_config import cfg
from oslo_limit import exception, limit

from gpupool.model import errors
from gpupool.model.quota import LimitSource, Resource

LOG = logging.getLogger(__name__)
# Names of the registered limits. One that is not registered counts as 0, as in all of OpenStack.
NAMES: Mapping[Resource, str] = {resource: f"gpupool_{resource}" for resource in Resource}

# Seconds for which limits are recent enough for what nobody waits for, however short ``cache_time`` is.
_RECENT = 10.0


class UnifiedLimits:
    """Limits of Keystone, each project's kept for ``[quota] cache_time`` seconds.

    Only the limits are oslo.limit's matter: what is used is counted under a lock of the database, and
    nobody waits for Keystone there.
    """

    source = LimitSource.KEYSTONE

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self._enforcer: limit.Enforcer | None = None
        self._kept: dict[str, tuple[float, dict[Resource, int]]] = {}
        # Held by the one thread that reads limits which nobody waits for.
        self._reading = threading.Lock()

    def of(self, project_id: str) -> dict[Resource, int]:
        """Return the limit of every resource; raises Unavailable when Keystone does not tell."""
        limits = self._read_within(self._conf.quota.cache_time, project_id)
        if limits is None:
            limits = self._ask(project_id)
            self._keep(project_id, limits)
        return limits

    def _read_within(self, seconds: float, project_id: str) -> dict[Resource, int] | None:
        """Return a project's limits if they were read in the last ``seconds``."""
        kept = self._kept.get(project_id)
        return kept[1] if kept is not None and time.monotonic() < kept[0] + seconds else None

    def _keep(self, project_id: str, limits: dict[Resource, int]) -> None:
        now = time.monotonic()
        oldest = now - max(self._conf.quota.cache_time, _RECENT)
        fresh = {key: value for key, value in self._kept.items() if value[0] > oldest}
        self._kept = {**fresh, project_id: (now, limits)}

    def everybody(self) -> tuple[dict[Resource, int], dict[str, dict[Resource, int]]]:
        """See limits.Limits: two requests, whatever the number of projects; nothing of it is kept."""
        with _telling("all projects"):
            connection = self._connected().connection
            where = _place(connection)
            registered = {
                each.resource_name: each.default_limit for each in connection.registered_limits(**where)
            }
            of_projects = [
                (each.project_id, each.resource_name, each.resource_limit)
                for each in connection.limits(**where)
            ]
        default = {resource: registered.get(name, 0) for resource, name in NAMES.items()}
        known = {name: resource for resource, name in NAMES.items() if name in registered}
        own: dict[str, dict[Resource, int]] = {}
        for project_id, name, value in of_projects:
            if project_id and name in known:
                own.setdefault(project_id, dict(default))[known[name]] = value
        return default, own

    def known(self, project_id: str) -> dict[Resource, int] | None:
        """See Limits. What is old is read again by a thread of its own: Keystone may hang."""
        limits = self._read_within(max(self._conf.quota.cache_time, _RECENT), project_id)
        if limits is not None:
            return limits
        if self._reading.acquire(blocking=False):
            threading.Thread(target=self._read, args=(project_id,), name="limits", daemon=True).start()
        return None

    def _read(self, project_id: str) -> None:
        # Unavailable is logged where it is raised; whoever wants to know asks again.
        try:
            with suppress(errors.Unavailable):
                self.of(project_id)
        finally:
            self._reading.release()

    def _ask(self, project_id: str) -> dict[Resource, int]:
        with _telling(f"project {project_id}"):
            found = dict(self._connected().get_project_limits(project_id, list(NAMES.values())))
        return {resource: found[name] for resource, name in NAMES.items()}

    def _connected(self) -> limit.Enforcer:
        if self._enforcer is None:
            self._enforcer = _connect(self._conf)
        return self._enforcer


@contextmanager
def _telling(whose: str) -> Iterator[None]:
    """Log an error of Keystone, or on the way to it, and raise Unavailable in its place."""
    try:
        yield
    except (exception.SessionInitError, SDKException, ClientException, ValueError) as exc:
        # oslo.limit raises ValueError for a catalogue that has not one endpoint of ours.
        LOG.error("Keystone does not tell the limits of %s: %s", whose, exc)
        raise errors.Unavailable("the project's limits can't be read from Keystone") from exc


def _place(connection: Any) -> dict[str, str]:
    """Return the service and the region that limits are registered for, as [oslo_limit] says."""
    options = cfg.CONF.oslo_limit
    if options.endpoint_id:
        endpoint = connection.get_endpoint(options.endpoint_id)
    else:
        kind, name = options.endpoint_service_type, options.endpoint_service_name
        (service,) = connection.services(type=kind, name=name)
        region, interface = options.endpoint_region_name, options.endpoint_interface.removesuffix("URL")
        endpoint, *_ = connection.endpoints(service_id=service.id, region_id=region, interface=interface)
    found = {"service_id": endpoint.service_id, "region_id": endpoint.region_id}
    return {name: value for name, value in found.items() if value}


def _connect(conf: cfg.ConfigOpts) -> limit.Enforcer:
    # oslo.limit reads the global configuration only: it gets the files that ours was read from.
    cfg.CONF([], default_config_files=conf.config_file, default_config_dirs=conf.config_dir)
    return limit.Enforcer(lambda _project_id, _names: {}, cache=False)
