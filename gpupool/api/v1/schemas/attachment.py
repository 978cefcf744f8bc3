"""Schemas of attachments."""

from gpupool.api.v1.schemas import common
from gpupool.model.attachment import AttachmentKind
from gpupool.model.states import AttachmentState

LIST = common.listing(
    {
        "claim_id": common.ID,
        "project_id": common.TEXT,
        "host": common.HOST_NAME_OR_ID,
        "host_id": common.ID,
        "kind": common.one_of(AttachmentKind),
        "state": common.one_of(AttachmentState),
    },
    ("kind", "state", "created_at", "updated_at"),
    common.ALL_PROJECTS,
)
CREATE = common.body(
    {
        "id": common.ID,
        "claim_id": common.ID,
        "kind": common.one_of(AttachmentKind),
        "host": common.HOST_NAME_OR_ID,
    },
    ["claim_id", "kind"],
)
