"""Rules of usage."""

from gpupool.policies import base

RULES = (
    base.rule(
        "usage:get",
        base.PROJECT_READER_OR_EVERY,
        "See what pools hold and what the project was granted.",
        ["GET /v1/usage"],
    ),
    base.rule(
        "usage:get_all",
        base.EVERY_PROJECT_READER,
        "See in usage what every project was granted, or any other than the caller's.",
        ["GET /v1/usage", "GET /v1/usage?project_id={project}"],
    ),
)
