"""Options of quotas: how much the claims of one project may hold at once."""

from oslo_config import cfg

GROUP = "quota"
OPTS = (
    cfg.StrOpt(
        "driver",
        default="config",
        choices=[
            ("config", "the options of this group"),
            ("unified", "unified limits in Keystone, read as [oslo_limit] says"),
        ],
        help="Where limits come from.",
    ),
    cfg.IntOpt(
        "claims",
        default=-1,
        min=-1,
        help="With driver config: how many claims that have not ended a project may have; -1: any.",
    ),
    cfg.IntOpt("vgpus", default=-1, min=-1, help="As claims: how many vGPUs they may ask for in all."),
    cfg.IntOpt(
        "compute",
        default=-1,
        min=-1,
        help="As claims: how much compute, percent of a device, so that 800 is eight whole devices.",
    ),
    cfg.IntOpt("memory_mib", default=-1, min=-1, help="As claims: how much device memory, MiB."),
    cfg.MultiStrOpt(
        "projects",
        default=[],
        help=(
            "With driver config: other limits for one project, as PROJECT_ID claims=20 compute=800; "
            "what is not named stays as above. Once for each such project."
        ),
    ),
    cfg.IntOpt(
        "cache_time",
        default=60,
        min=0,
        help="With driver unified: seconds for which a project's limits are not asked for again.",
    ),
)


def register(conf: cfg.ConfigOpts) -> None:
    """Register this group on ``conf``."""
    conf.register_opts(OPTS, group=GROUP)
