"""Rules of sessions: as of the claims whose vGPUs they use."""

from gpupool.policies import base

RULES = (
    base.rule(
        "sessions:get",
        base.PROJECT_READER_OR_EVERY,
        "List the project's sessions.",
        ["GET /v1/sessions"],
    ),
    base.rule(
        "sessions:get_all",
        base.EVERY_PROJECT_READER,
        "List the sessions of every project.",
        ["GET /v1/sessions?all_projects=true"],
    ),
)
