"""Rules of profiles: made by the operator, used by every project."""

from gpupool.policies import base

RULES = (
    base.rule(
        "profiles:get",
        base.READER,
        "List profiles, show one.",
        ["GET /v1/profiles", "GET /v1/profiles/{profile}"],
    ),
    base.rule("profiles:create", base.ADMIN, "Create a profile.", ["POST /v1/profiles"]),
    base.rule("profiles:update", base.ADMIN, "Change a profile.", ["PATCH /v1/profiles/{profile}"]),
    base.rule("profiles:delete", base.ADMIN, "Delete a profile.", ["DELETE /v1/profiles/{profile}"]),
)
