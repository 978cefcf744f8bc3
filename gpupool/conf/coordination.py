"""Options of coordination: how several conductors agree on which of them leads."""

from oslo_config import cfg

GROUP = "coordination"
OPTS = (
    cfg.StrOpt(
        "backend_url",
        default="",
        secret=True,
        help=(
            "URL of a backend of tooz by which conductors choose the one that orders the queue and "
            "repairs, for instance mysql://USER:PASSWORD@HOST/DATABASE, "
            "postgresql://USER:PASSWORD@HOST/DATABASE, etcd3+http://HOST:2379 or file:///FOLDER (one "
            "host only). One leads among all whose [database] connection names the same host and "
            "database, so deployments may share a backend. Empty: this conductor is the only one, or "
            "all of them do all the work."
        ),
    ),
)


def register(conf: cfg.ConfigOpts) -> None:
    """Register this group on ``conf``."""
    conf.register_opts(OPTS, group=GROUP)
