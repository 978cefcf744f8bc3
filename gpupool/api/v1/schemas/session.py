"""Schemas of sessions."""

from gpupool.api.v1.schemas import common

LIST = common.listing(
    {
        "claim_id": common.ID,
        "project_id": common.TEXT,
        "attachment_id": common.ID,
        "vgpu_id": common.ID,
        "host": common.HOST_NAME_OR_ID,
        "host_id": common.ID,
    },
    ("started_at", "memory_used_mib", "busy_ns"),
    common.ALL_PROJECTS,
)
