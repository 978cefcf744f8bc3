"""Rules of pools: every project may see which there are."""

from gpupool.policies import base

RULES = (
    base.rule(
        "pools:get",
        base.READER,
        "List pools, show one.",
        ["GET /v1/pools", "GET /v1/pools/{pool}"],
    ),
    base.rule("pools:create", base.ADMIN, "Create a pool.", ["POST /v1/pools"]),
    base.rule(
        "pools:update",
        base.ADMIN,
        "Change a pool: its name, its policy, what it grants.",
        ["PATCH /v1/pools/{pool}"],
    ),
    base.rule(
        "pools:defragment",
        base.ADMIN,
        "Move vGPUs of a pool so that more of its room is in one piece.",
        ["POST /v1/pools/{pool}/action"],
    ),
    base.rule("pools:delete", base.ADMIN, "Delete a pool.", ["DELETE /v1/pools/{pool}"]),
)
