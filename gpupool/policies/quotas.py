"""Rules of quotas. Limits are set in the configuration or in Keystone, not here."""

from gpupool.policies import base

RULES = (
    base.rule(
        "quotas:get",
        base.PROJECT_READER_OR_EVERY,
        "See what the project may hold, and what it does.",
        ["GET /v1/quotas"],
    ),
    base.rule(
        "quotas:get_all",
        base.EVERY_PROJECT_READER,
        "See what any project may hold, and what it does.",
        ["GET /v1/quotas?project_id={project}", "GET /v1/quotas?all_projects=true"],
    ),
)
