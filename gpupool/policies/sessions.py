"""Rules of sessions: as of the claims whose vGPUs they use."""

from gpupool.policies import base

RULES = (
    base.rule(
        "sessions:get",
        base.PROJECT_READER_OR_EVERY,
        "List the project's sessions, show one.",
        ["GET /v1/sessions", "GET /v1/sessions/{session}"],
    ),
    base.rule(
        "sessions:get_all",
        base.EVERY_PROJECT_READER,
        "List the sessions of every project.",
        ["GET /v1/sessions?all_projects=true"],
    ),
    base.rule(
        "sessions:delete",
        base.PROJECT_MEMBER_OR_ADMIN,
        "End a session: its program loses its device.",
        ["DELETE /v1/sessions/{session}"],
    ),
)
