"""Options of the Placement client: how to reach the service and as whom."""

from keystoneauth1 import loading
from oslo_config import cfg

GROUP = "placement"
OPTS: tuple[cfg.Opt, ...] = (
    *loading.get_adapter_conf_options(include_deprecated=False),
    *loading.get_session_conf_options(),
    *loading.get_auth_common_conf_options(),
)


def register(conf: cfg.ConfigOpts) -> None:
    """Register this group on ``conf``; the auth plug-in adds its own options when it is loaded."""
    loading.register_session_conf_options(conf, GROUP)
    loading.register_auth_conf_options(conf, GROUP)
    loading.register_adapter_conf_options(conf, GROUP, include_deprecated=False)
    conf.set_default("service_type", "placement", group=GROUP)
    # The library's own defaults: wait for ever, and fail when the service closed an idle connection.
    conf.set_default("timeout", 60, group=GROUP)
    conf.set_default("connect_retries", 1, group=GROUP)
