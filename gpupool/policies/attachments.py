"""Rules of attachments: as of the claims they belong to; the ticket opens sessions, so few see it."""

from gpupool.policies import base

RULES = (
    base.rule(
        "attachments:get",
        base.PROJECT_READER_OR_EVERY,
        "List the project's attachments, show one.",
        ["GET /v1/attachments", "GET /v1/attachments/{attachment}"],
    ),
    base.rule(
        "attachments:get_all",
        base.EVERY_PROJECT_READER,
        "List the attachments of every project.",
        ["GET /v1/attachments?all_projects=true"],
    ),
    base.rule(
        "attachments:get_ticket",
        base.PROJECT_MEMBER_OR_ADMIN,
        "See an attachment's ticket and environment, which let a program use the vGPUs.",
        ["GET /v1/attachments/{attachment}", "POST /v1/attachments"],
    ),
    base.rule(
        "attachments:create",
        base.PROJECT_MEMBER_OR_ADMIN,
        "Attach a claim.",
        ["POST /v1/attachments"],
    ),
    base.rule(
        "attachments:delete",
        base.PROJECT_MEMBER_OR_ADMIN,
        "Take an attachment away.",
        ["DELETE /v1/attachments/{attachment}"],
    ),
)
