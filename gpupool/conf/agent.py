"""Options of the agent."""

import socket

from oslo_config import cfg

GROUP = "agent"
OPTS = (
    # Not HostAddressOpt: where the default did not fit, no command could start. The agent checks it.
    cfg.StrOpt(
        "host",
        default=socket.gethostname(),
        sample_default="<hostname>",
        help="Name of this host; it names the message queue and the devices, so keep it.",
    ),
    cfg.StrOpt(
        "hypervisor_hostname",
        help="Name of this host's compute node provider in Placement; unset: the same as host.",
    ),
    cfg.StrOpt("pool", default="default", help="Pool (name) a host joins when it first reports."),
    cfg.ListOpt(
        "drivers",
        default=["nvidia"],
        help="Drivers to load, in order: nvidia (devices that NVML lists), reference (simulated).",
    ),
    cfg.IntOpt(
        "driver_timeout",
        default=15,
        min=1,
        help=(
            "Seconds after which a call of a vendor's library is taken to hang: its process is killed "
            "and replaced. A device whose second process hangs too is failed until it answers."
        ),
    ),
    cfg.IntOpt(
        "report_interval",
        default=5,
        min=1,
        help="Seconds between two reports when nothing wakes the agent.",
    ),
    cfg.IntOpt(
        "cpu_milli",
        min=0,
        help=(
            "Thousandths of a core that programs on this host may claim; unset: all that the agent may "
            "run on. Less keeps some back."
        ),
    ),
    cfg.IntOpt(
        "memory_mib",
        min=0,
        help=(
            "MiB of this host's own memory that programs on it may claim; unset: all there are. Less "
            "keeps some back."
        ),
    ),
    cfg.ListOpt(
        "conductor_keys",
        default=[],
        help=(
            "Public keys that conductors sign with, as `gpupool-manage key list` prints them; two while "
            "one takes the place of another. Unset: those of the first conductor that answers, and "
            "those that it names later, are trusted."
        ),
    ),
    cfg.StrOpt(
        "state_path",
        default="/var/lib/gpupool",
        help="Folder of what must outlive the agent: its keys, ledgers of vGPUs, records of sessions.",
    ),
    cfg.IntOpt(
        "reserved_disk_mib",
        default=32,
        min=0,
        help=(
            "A host with less than this free (MiB, but at most a twentieth) on the disk of state_path, "
            "run_path or cdi_path takes no new vGPUs."
        ),
    ),
    cfg.IntOpt(
        "reserved_memory_mib",
        default=256,
        min=0,
        help=(
            "A host with less memory available than this (MiB, but at most a twentieth), or whose agent "
            "is as near to the limit of its control group, takes no new vGPUs."
        ),
    ),
    cfg.StrOpt(
        "run_path",
        default="/run/gpupool",
        help=(
            "Folder of the session sockets; programs and containers reach it. Containers hold what is "
            "in it, so nothing may empty it while they run: a folder for temporary files does not do."
        ),
    ),
    cfg.StrOpt("cdi_path", default="/var/run/cdi", help="Folder where CDI specs are written."),
    cfg.StrOpt(
        "worker_uids",
        regex=r"^\d{1,10}-\d{1,10}$",
        default="2100000000-2100065535",
        help=(
            "Users, FIRST-LAST, that workers run as when the agent is root: each vGPU has one of its "
            "own, so one host has as many vGPUs at most. They need no accounts, and nothing else of "
            "the host may use them; all agents of a machine may have the same range. An agent that "
            "is not root runs workers as itself."
        ),
    ),
    cfg.StrOpt(
        "worker_user",
        deprecated_for_removal=True,
        deprecated_reason="Workers of one user could reach each other; see worker_uids.",
        help="Has no effect.",
    ),
    cfg.IntOpt(
        "ring_mib",
        default=256,
        min=8,
        help=(
            "MiB of shared memory a session has at most for calls, data and pinned memory; taken as "
            "used. Later sessions of a vGPU have less, see vgpu_host_memory_mib."
        ),
    ),
    cfg.BoolOpt(
        "cgroups",
        default=True,
        help=(
            "Whether the workers of each vGPU get a control group that bounds their memory and threads. "
            "The agent's own group must be delegated to it; where it may make none, the log says so."
        ),
    ),
    cfg.IntOpt(
        "vgpu_host_memory_mib",
        default=2048,
        min=64,
        help=(
            "MiB of this host's memory that the sessions of one vGPU share at most, beyond 16 for each "
            "that it may have: larger rings, modules, streams. A vGPU has twice its device memory, at "
            "least 64 and at most this. What does not fit is CUDA_ERROR_OUT_OF_MEMORY."
        ),
    ),
)


def register(conf: cfg.ConfigOpts) -> None:
    """Register this group on ``conf``."""
    conf.register_opts(OPTS, group=GROUP)
