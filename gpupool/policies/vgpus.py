"""Rules of vGPUs: as of the claims they belong to."""

from gpupool.policies import base

RULES = (
    base.rule(
        "vgpus:get",
        base.PROJECT_READER_OR_EVERY,
        "List the project's vGPUs, show one.",
        ["GET /v1/vgpus", "GET /v1/vgpus/{vgpu}"],
    ),
    base.rule(
        "vgpus:get_all",
        base.EVERY_PROJECT_READER,
        "List the vGPUs of every project.",
        ["GET /v1/vgpus?all_projects=true"],
    ),
)
