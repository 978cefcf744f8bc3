"""Rules of devices: like hosts; a project learns of its own vGPUs' devices from its vGPUs."""

from gpupool.policies import base

RULES = (
    base.rule(
        "devices:get",
        base.OPERATOR_READER,
        "List devices, show one.",
        ["GET /v1/devices", "GET /v1/devices/{device}"],
    ),
    base.rule(
        "devices:disable",
        base.ADMIN,
        "Enable or disable a device for new vGPUs.",
        ["POST /v1/devices/{device}/action"],
    ),
    base.rule(
        "devices:delete",
        base.ADMIN,
        "Forget a device that was taken out of its host.",
        ["DELETE /v1/devices/{device}"],
    ),
)
