"""The roles that every other rule is made of.

Keystone implies reader in member, member in manager and manager in admin, so a rule names the least
role. A rule whose check string names ``project_id`` is asked with the project that owns the thing.
"""

from collections.abc import Sequence

from oslo_policy import policy

PREFIX = "gpu-pool"
SCOPES = ["project"]

ADMIN = "rule:admin_api"
READER = "rule:reader_api"
OPERATOR_READER = "rule:operator_reader_api"
EVERY_PROJECT_READER = "rule:every_project_reader_api"
PROJECT_READER = "rule:project_reader_api"
PROJECT_READER_OR_EVERY = "rule:project_reader_or_every_api"
PROJECT_MEMBER = "rule:project_member_api"
PROJECT_MANAGER_OR_ADMIN = "rule:project_manager_or_admin_api"
PROJECT_MEMBER_OR_ADMIN = "rule:project_member_or_admin_api"

RULES = (
    policy.RuleDefault("admin_api", "role:admin", "Operators of the cloud."),
    policy.RuleDefault("service_api", "role:service", "Other services of the cloud."),
    policy.RuleDefault("reader_api", "role:reader or rule:service_api", "Users who may look at all."),
    policy.RuleDefault(
        "operator_reader_api",
        "rule:admin_api or role:manager or rule:service_api",
        "Users who may see the machines behind a pool.",
    ),
    policy.RuleDefault(
        "every_project_reader_api",
        "rule:admin_api or rule:service_api",
        "Users who may look into every project.",
    ),
    policy.RuleDefault(
        "project_reader_api",
        "role:reader and project_id:%(project_id)s",
        "Users who may look at what the project has.",
    ),
    policy.RuleDefault(
        "project_reader_or_every_api",
        "rule:project_reader_api or rule:every_project_reader_api",
        "Users who may look at what the project has, or every project.",
    ),
    policy.RuleDefault(
        "project_member_api",
        "role:member and project_id:%(project_id)s",
        "Users who may change what the project has.",
    ),
    policy.RuleDefault(
        "project_member_or_admin_api",
        "rule:project_member_api or rule:admin_api",
        "Users who may change what the project has, or any project.",
    ),
    policy.RuleDefault(
        "project_manager_or_admin_api",
        "role:manager and project_id:%(project_id)s or rule:admin_api",
        "Users who may say what goes first, of the project or of any.",
    ),
)


def rule(
    name: str, check: str, description: str, operations: Sequence[str]
) -> policy.DocumentedRuleDefault:
    """Return the default rule ``gpu-pool:<name>``; an operation is ``"GET /v1/pools"``."""
    split = (operation.split(" ", 1) for operation in operations)
    return policy.DocumentedRuleDefault(
        name=f"{PREFIX}:{name}",
        check_str=check,
        description=description,
        operations=[{"method": method, "path": path} for method, path in split],
        scope_types=SCOPES,
    )
