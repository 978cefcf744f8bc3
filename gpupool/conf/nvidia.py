"""Options of the NVIDIA driver."""

from oslo_config import cfg

GROUP = "nvidia"
OPTS = (
    cfg.StrOpt(
        "library",
        default="libcuda.so.1",
        help="NVIDIA's own libcuda, which workers open: a path, or a name the system's linker finds.",
    ),
    cfg.IntOpt(
        "reserved_mib",
        default=512,
        min=0,
        help="MiB of each device that are never granted: driver contexts take device memory too.",
    ),
)


def register(conf: cfg.ConfigOpts) -> None:
    """Register this group on ``conf``."""
    conf.register_opts(OPTS, group=GROUP)
