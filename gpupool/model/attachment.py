"""An attachment: a claim made usable on one host for one container, process or instance."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from gpupool.model.states import AttachmentState


class AttachmentKind(StrEnum):
    """What the attachment is for; it decides what the agent prepares."""

    PROCESS = "process"
    CONTAINER = "container"


# The kind of what container engines are given, see agent.cdi.
CDI_KIND = "gpupool.org/vgpu"


def cdi_device(attachment_id: str) -> str:
    """Return what a container engine's --device takes for an attachment."""
    return f"{CDI_KIND}={attachment_id}"


@dataclass(frozen=True, kw_only=True)
class AttachmentRequest:
    """What a project asks for; without ``host``, the host of the claim's vGPUs."""

    claim_id: str
    kind: AttachmentKind
    host: str | None = None


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """One attachment.

    ``ticket`` lets a program open sessions. ``environment`` is what a program's environment needs,
    ``cdi_device`` what a container engine takes (``gpupool.org/vgpu=<id>``); both come from the host
    once it is ready.
    """

    id: str
    claim_id: str
    project_id: str
    host_id: str
    kind: AttachmentKind
    state: AttachmentState
    state_reason: str = ""
    ticket: str = field(repr=False)
    generation: int
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    cdi_device: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
