"""Options of the reference driver: simulated devices, for trying and testing with no GPU."""

from oslo_config import cfg

GROUP = "reference"
OPTS = (
    cfg.IntOpt("devices", default=2, min=0, max=64, help="How many devices to simulate."),
    cfg.IntOpt("memory_mib", default=4096, min=1, help="MiB of memory of each."),
    cfg.ListOpt(
        "link_groups",
        help=(
            "Link group of each device, in order, as a,a,b,b: those of one group are reported as "
            "connected by a fast link. Devices beyond the list, and empty names, are in none."
        ),
        default=[],
    ),
    cfg.IntOpt(
        "reserved_mib",
        default=0,
        min=0,
        help="MiB of each that are never granted, as [nvidia] reserved_mib.",
    ),
    cfg.IntOpt(
        "context_mib",
        default=0,
        min=0,
        help="MiB that a session's context is said to take, as [nvidia] context_mib; it takes none.",
    ),
    cfg.StrOpt(
        "sharing_mode",
        default="shared",
        choices=["shared", "mig"],
        help=(
            "shared: devices are cut freely. mig: they are simulated as devices of seven slices, of "
            "which claims ask for parts: --sharing-mode mig --partition 1of7, 2of7, 3of7, 4of7 or 7of7."
        ),
    ),
    cfg.IntOpt("compute_units", default=2, min=1, help="Compute units (threads) of each."),
)


def register(conf: cfg.ConfigOpts) -> None:
    """Register this group on ``conf``."""
    conf.register_opts(OPTS, group=GROUP)
