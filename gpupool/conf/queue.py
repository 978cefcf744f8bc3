"""Options of the queue: whose claim is next, and who makes room."""

from oslo_config import cfg
from oslo_config.types import Dict, Float

GROUP = "queue"
OPTS = (
    cfg.FloatOpt(
        "half_life",
        default=7 * 24 * 3600,
        min=1,
        help="Seconds after which what a project has used of a pool counts half.",
    ),
    cfg.Opt(
        "project_weights",
        type=Dict(Float(min=0.001)),
        default={},
        help="How large projects' parts of a pool are compared to others': PROJECT_ID:2.5,...; else 1.",
    ),
    cfg.BoolOpt(
        "backfill",
        default=True,
        help="Whether claims may start before one that finds no room, where that puts it off in no way.",
    ),
    cfg.IntOpt(
        "reservations",
        default=1,
        min=0,
        help="For how many claims of a pool, the first in line, room is kept until it is enough.",
    ),
    cfg.FloatOpt(
        "min_run_time",
        default=300,
        min=0,
        help=(
            "Seconds that a preemptible claim may run before another can take its place, in pools that "
            "do not say."
        ),
    ),
    cfg.Opt(
        "project_min_run_times",
        type=Dict(Float(min=0)),
        default={},
        help="The same for claims of some projects, whatever the pool says: PROJECT_ID:3600,...",
    ),
    cfg.FloatOpt(
        "ageing",
        default=7 * 24 * 3600,
        min=0,
        help="Seconds after which a claim that waits is no longer passed by younger claims of its own "
        "project up to the default priority, 50; 0: it is passed by all that have a higher one.",
    ),
)


def register(conf: cfg.ConfigOpts) -> None:
    """Register this group on ``conf``."""
    conf.register_opts(OPTS, group=GROUP)
