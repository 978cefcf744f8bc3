"""Schemas of vGPUs."""

from gpupool.api.v1.schemas import common
from gpupool.model.states import VgpuState

LIST = common.listing(
    {
        "claim_id": common.ID,
        "project_id": common.TEXT,
        "host": common.HOST_NAME_OR_ID,
        "host_id": common.ID,
        "device_id": common.ID,
        "state": common.one_of(VgpuState),
    },
    ("index", "compute", "memory_mib", "state", "created_at", "updated_at"),
    common.ALL_PROJECTS,
)
