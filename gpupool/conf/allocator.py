"""Options of the allocator: what it keeps back, and what it goes by."""

from oslo_config import cfg

GROUP = "allocator"
OPTS = (
    cfg.IntOpt(
        "reserved_cpu_milli",
        default=500,
        min=0,
        help="Thousandths of a core of each host with devices that no claim gets, for its workers.",
    ),
    cfg.IntOpt(
        "reserved_memory_mib",
        default=1024,
        min=0,
        help="MiB of memory of each host with devices that no claim gets, for its workers.",
    ),
    cfg.IntOpt(
        "mix_window",
        default=1000,
        min=1,
        help="How many of the newest claims of a pool policy fgd goes by: they tell what will come.",
    ),
)


def register(conf: cfg.ConfigOpts) -> None:
    """Register this group on ``conf``."""
    conf.register_opts(OPTS, group=GROUP)
