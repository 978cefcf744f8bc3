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
        help=(
            "MiB of each device that are never granted: they hold the contexts of first sessions. For N "
            "vGPUs on a device that are each to have one session at no cost, N times context_mib."
        ),
    ),
    cfg.IntOpt(
        "context_mib",
        default=512,
        min=0,
        max=1 << 20,
        help=(
            "MiB of device memory that the driver takes for each session's context; nvidia-smi shows it "
            "of a program that has only made a context. Each vGPU's first session has its context in "
            "reserved_mib while there is room; any other context is charged to its vGPU's memory."
        ),
    ),
    cfg.BoolOpt(
        "clear_memory",
        default=True,
        help=(
            "Whether workers fill device memory with zeros when it is allocated, so that no project is "
            "given what another one left even where NVIDIA's driver does not clear freed memory. The "
            "device writes all of it once, which is charged to the vGPU."
        ),
    ),
    cfg.IntOpt(
        "worker_mib",
        default=1024,
        min=0,
        help=(
            "MiB of the host's memory that NVIDIA's library takes in each worker at most; the control "
            "group of a vGPU allows them for each of its sessions."
        ),
    ),
)


def register(conf: cfg.ConfigOpts) -> None:
    """Register this group on ``conf``."""
    conf.register_opts(OPTS, group=GROUP)
