"""Rules of hosts: which machines there are is the operator's matter, so members do not see them.

Managers do: a project that names hosts or devices in its claims has to know them.
"""

from gpupool.policies import base

RULES = (
    base.rule(
        "hosts:get",
        base.OPERATOR_READER,
        "List hosts, show one.",
        ["GET /v1/hosts", "GET /v1/hosts/{host}"],
    ),
    base.rule("hosts:update", base.ADMIN, "Move a host to another pool.", ["PATCH /v1/hosts/{host}"]),
    base.rule(
        "hosts:admit",
        base.ADMIN,
        "Admit a host that introduced itself, or revoke its keys.",
        ["POST /v1/hosts/{host}/action (admit, revoke)"],
    ),
    base.rule(
        "hosts:disable",
        base.ADMIN,
        "Enable or disable a host for new vGPUs.",
        ["POST /v1/hosts/{host}/action (enable, disable)"],
    ),
    base.rule("hosts:delete", base.ADMIN, "Forget a host.", ["DELETE /v1/hosts/{host}"]),
)
