"""Rules of claims: a project's own, except to those who may look into every project."""

from gpupool.policies import base

RULES = (
    base.rule(
        "claims:get",
        base.PROJECT_READER_OR_EVERY,
        "List the project's claims, show one.",
        ["GET /v1/claims", "GET /v1/claims/{claim}"],
    ),
    base.rule(
        "claims:get_all",
        base.EVERY_PROJECT_READER,
        "List the claims of every project.",
        ["GET /v1/claims?all_projects=true"],
    ),
    base.rule(
        "claims:get_detail",
        base.EVERY_PROJECT_READER,
        "See what operators are told besides the reason of a claim's state: names of hosts and of "
        "claims of other projects, what other services said, and which hosts refused it.",
        ["GET /v1/claims", "GET /v1/claims/{claim}", "GET /v1/queue"],
    ),
    base.rule("claims:create", base.PROJECT_MEMBER, "Create a claim.", ["POST /v1/claims"]),
    base.rule(
        "claims:update",
        base.PROJECT_MEMBER_OR_ADMIN,
        "Change a claim's name, priority or lease.",
        ["PATCH /v1/claims/{claim}", "POST /v1/claims/{claim}/action (extend)"],
    ),
    base.rule(
        "claims:set_high_priority",
        base.PROJECT_MANAGER_OR_ADMIN,
        "Give a claim a priority above 50, with which it goes before every project's claims and may "
        "have preemptible ones make room. A profile's own priority is for whoever may use the profile.",
        ["POST /v1/claims", "PATCH /v1/claims/{claim}"],
    ),
    base.rule(
        "claims:release",
        base.PROJECT_MEMBER_OR_ADMIN,
        "Release a claim.",
        ["DELETE /v1/claims/{claim}", "POST /v1/claims/{claim}/action (release)"],
    ),
)
