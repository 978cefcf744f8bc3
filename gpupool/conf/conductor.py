"""Options of the conductor."""

from oslo_config import cfg

GROUP = "conductor"
OPTS = (
    cfg.IntOpt(
        "queue_interval",
        default=5,
        min=1,
        help="Seconds between two looks at the queue when nothing wakes the conductor.",
    ),
    cfg.IntOpt(
        "reconcile_interval",
        default=30,
        min=1,
        help="Seconds between two comparisons of database, Placement and what agents report.",
    ),
    cfg.IntOpt(
        "reconcile_devices",
        default=256,
        min=1,
        help=(
            "How many devices are compared with Placement at most every reconcile_interval, those first "
            "that were not for longest. Each costs Placement up to five small requests."
        ),
    ),
    cfg.IntOpt(
        "host_timeout",
        default=30,
        min=2,
        help="Seconds without a report after which a host is marked down.",
    ),
    cfg.IntOpt(
        "device_lost_timeout",
        default=30,
        min=0,
        help=(
            "Seconds for which a device of a bound claim has to stay failed or missing, or its host "
            "down, before the claim is queued again or fails, as its on_device_lost says. One that is "
            "back sooner costs its claims nothing. A host is down after host_timeout."
        ),
    ),
    cfg.IntOpt(
        "apply_timeout",
        default=300,
        min=0,
        help=(
            "Seconds after which a host that reports, and does not make or remove vGPUs as it should, "
            "takes no new ones until it does. Claims that are being bound there are queued again and "
            "try other hosts first. 0: never."
        ),
    ),
    cfg.IntOpt(
        "clock_settle",
        default=60,
        min=0,
        help=(
            "Seconds for which the database's clock has to agree with the conductor's monotonic clock, "
            "from the conductor's start and after each step, before leases end by it. A step that is "
            "set right sooner ends nothing."
        ),
    ),
    cfg.IntOpt(
        "allocating_timeout",
        default=600,
        min=1,
        help=(
            "Seconds after which a claim that still is allocating, or a move, of a conductor of an "
            "earlier release is taken to be left by a crash. Later ones are known to be gone sooner."
        ),
    ),
    cfg.IntOpt(
        "binding_attempts",
        default=3,
        min=1,
        help=(
            "How many hosts may refuse what a claim asks for before it fails. Refusals due to the host "
            "(a full disk, a failed device) do not count; the claim waits for another host. Also how "
            "often in a row the host of an elastic claim may refuse it more vGPUs, for whatever reason, "
            "before it grows no more until it or the host changes."
        ),
    ),
    cfg.IntOpt(
        "sessions_per_vgpu",
        default=16,
        min=1,
        max=1024,
        help=(
            "How many sessions each vGPU of a claim may have that does not say. Each process that uses "
            "a vGPU has one, which is a worker process of the host."
        ),
    ),
    cfg.IntOpt(
        "max_sessions_per_vgpu",
        default=64,
        min=1,
        max=1024,
        help=(
            "How many sessions claims and profiles may ask for. Raise it for programs with hundreds of "
            "processes, and the limits of hosts (TasksMax= and MemoryMax= of a systemd unit) with it."
        ),
    ),
    cfg.IntOpt(
        "max_attachments_per_claim",
        default=64,
        min=1,
        help="How many attachments a claim may have. Each costs its host a socket.",
    ),
    cfg.StrOpt(
        "admit_hosts",
        default="manual",
        choices=(
            ("manual", "an operator compares the fingerprint: openstack gpu host admit"),
            (
                "automatic",
                "the first key of a name that had none is believed; only where nobody else "
                "has an account of the message service",
            ),
        ),
        help="How hosts join. A key that takes another's place waits for an operator either way.",
    ),
    cfg.BoolOpt(
        "require_signed_reports",
        default=True,
        help=(
            "Take no report that is not signed by a host's admitted key. Set to false only while agents "
            "of a version without keys are upgraded: then hosts that were here before and have never "
            "had an admitted key go on without, and whoever can send messages can speak for them."
        ),
    ),
    cfg.IntOpt(
        "max_pending_keys",
        default=256,
        min=1,
        help=(
            "How many keys of hosts that never joined may wait for an operator; the newest are "
            "kept. Of each host, also of one that was here before, four may wait."
        ),
    ),
    cfg.IntOpt(
        "max_reports_per_second",
        default=20,
        min=1,
        help=(
            "How many reports of one host a conductor takes in a second, on average over ten seconds. "
            "More are answered that they are to come later. Agents report every [agent] "
            "report_interval, and up to three times for each change of what their host should have."
        ),
    ),
    cfg.IntOpt(
        "max_traits_per_host",
        default=256,
        min=1,
        help=(
            "How many different custom traits the devices of a host may have had since it was admitted; "
            "a report with more is refused. Placement keeps each for ever."
        ),
    ),
    cfg.IntOpt(
        "max_device_memory_mib",
        default=4 * 2**20,
        min=1,
        max=2**31 - 1,
        help="MiB of memory that a device may have; a report of more is refused.",
    ),
)


def register(conf: cfg.ConfigOpts) -> None:
    """Register this group on ``conf``."""
    conf.register_opts(OPTS, group=GROUP)
