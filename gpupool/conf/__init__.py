"""Configuration: one file per option group. There is no global configuration object.

Every part takes the ``oslo_config.cfg.ConfigOpts`` it works with; ``new`` makes one.
"""

from collections.abc import Sequence

from oslo_config import cfg
from oslo_log import log

from gpupool.conf import (
    agent,
    allocator,
    api,
    conductor,
    coordination,
    nvidia,
    placement,
    queue,
    quota,
    reference,
    waiting,
)

_GROUPS = (agent, allocator, api, conductor, coordination, nvidia, placement, queue, quota, reference)


def register(conf: cfg.ConfigOpts) -> None:
    """Register every option of gpupool's own on ``conf``; registering twice changes nothing."""
    for module in _GROUPS:
        module.register(conf)


def new(args: Sequence[str] = (), files: list[str] | None = None) -> cfg.ConfigOpts:
    """Return a configuration read from ``args`` and ``files`` (by default /etc/gpupool/...)."""
    waiting.by_monotonic_clock()
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    register(conf)
    conf(list(args), project="gpupool", default_config_files=files)
    return conf


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options by group, for oslo-config-generator."""
    return [(module.GROUP, list(module.OPTS)) for module in _GROUPS]
