"""Rules of the queue: a project sees its own places in it."""

from gpupool.policies import base

RULES = (
    base.rule(
        "queue:get",
        base.PROJECT_READER_OR_EVERY,
        "See where the project's claims stand in a pool's queue.",
        ["GET /v1/queue"],
    ),
    base.rule(
        "queue:get_all",
        base.EVERY_PROJECT_READER,
        "See the claims of every project in a pool's queue.",
        ["GET /v1/queue?all_projects=true"],
    ),
)
