"""Rules of services: which processes run is the operator's matter."""

from gpupool.policies import base

RULES = (
    base.rule(
        "services:get",
        base.EVERY_PROJECT_READER,
        "List the processes of this service: conductors, APIs, agents.",
        ["GET /v1/services"],
    ),
)
