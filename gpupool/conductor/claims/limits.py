"""How much a project may hold: the limits that the configuration names."""

from collections.abc import Mapping
from typing import Protocol

from oslo_config import cfg
from oslo_utils import importutils

from gpupool.model import errors
from gpupool.model.quota import NO_LIMIT, LimitSource, Resource

_ALLOWED = " ".join(f"{resource}=NUMBER" for resource in Resource)
# A limit per resource; NO_LIMIT where there is none.
OfProject = Mapping[Resource, int]


class Limits(Protocol):
    """Where limits come from: ``source``."""

    @property
    def source(self) -> LimitSource:
        """Return that."""

    def of(self, project_id: str) -> OfProject:
        """Return the limit of every resource; raises Unavailable while they can't be known."""

    def everybody(self) -> tuple[OfProject, Mapping[str, OfProject]]:
        """Return the limits that count by default, and all of every project that has some of its own.

        Raises Unavailable as ``of``.
        """

    def known(self, project_id: str) -> OfProject | None:
        """Return the limits as they were read last, at once; None when they have to be read first."""


def from_conf(conf: cfg.ConfigOpts) -> Limits:
    """Return the limits of ``[quota] driver``; raises Invalid for what the group can't mean."""
    if conf.quota.driver == "config":
        return ConfigLimits(conf)
    # Only here: oslo.limit brings the whole SDK with it.
    unified: Limits = importutils.import_object(
        "gpupool.conductor.claims.limits_keystone.UnifiedLimits", conf
    )
    return unified


class ConfigLimits:
    """The options of ``[quota]``."""

    source = LimitSource.CONFIGURATION

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._default = {resource: conf.quota[resource.value] for resource in Resource}
        self._projects = dict(_parse(text) for text in conf.quota.projects)

    def of(self, project_id: str) -> OfProject:
        """See Limits."""
        return {**self._default, **self._projects.get(project_id, {})}

    def everybody(self) -> tuple[OfProject, Mapping[str, OfProject]]:
        """See Limits."""
        return self._default, {project_id: self.of(project_id) for project_id in self._projects}

    def known(self, project_id: str) -> OfProject:
        """See Limits."""
        return self.of(project_id)


def _parse(text: str) -> tuple[str, dict[Resource, int]]:
    project_id, *words = text.split() or [""]
    try:
        pairs = [word.split("=") for word in words]
        limits = {Resource(name): int(value) for name, value in pairs}
    except ValueError:
        limits = {}
    if not limits or len(limits) < len(words) or min(limits.values()) < NO_LIMIT:
        raise errors.Invalid(
            f"[quota] projects is {text!r}; allowed: PROJECT_ID and one or more of {_ALLOWED}, each "
            f"number {NO_LIMIT} or more"
        )
    return project_id, limits
