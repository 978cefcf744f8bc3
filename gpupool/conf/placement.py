"""Options of the Placement client: how to reach the service and as whom."""

import copy

from keystoneauth1 import loading
from oslo_config import cfg

GROUP = "placement"
_DEFAULTS = {
    "service_type": "placement",
    # The library's own: wait for ever, and fail when the service closed an idle connection.
    "timeout": 60,
    "connect_retries": 1,
}


def _ours(opt: cfg.Opt) -> cfg.Opt:
    """Return a copy of the library's option with our default: the sample file shows it."""
    made = copy.copy(opt)
    made.default = _DEFAULTS.get(opt.dest, opt.default)
    return made


OPTS: tuple[cfg.Opt, ...] = tuple(
    _ours(opt)
    for opt in (
        *loading.get_adapter_conf_options(include_deprecated=False),
        *loading.get_session_conf_options(),
        *loading.get_auth_common_conf_options(),
    )
)


def register(conf: cfg.ConfigOpts) -> None:
    """Register this group on ``conf``; the auth plug-in adds its own options when it is loaded."""
    conf.register_opts(OPTS, group=GROUP)
