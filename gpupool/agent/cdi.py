"""CDI specs: what a container engine puts into a container that asks for an attachment.

Format: Container Device Interface specification 0.5.0 (github.com/cncf-tags/container-device-interface).
One file per attachment, so that taking it away is one unlink. A container may be given several. Engines
apply the edits of all, so what differs between two attachments must not have the same name in the
container: each is a folder of its own, ``/run/gpupool/<id>``, and sets no environment variable. Programs
that do not have the container's environment, as those of a session over ssh, find it there too.
"""

import json
import os
from pathlib import Path
from typing import Any

from gpupool.agent import record
from gpupool.dataplane import paths
from gpupool.model.attachment import CDI_KIND

VERSION = "0.5.0"
# Where attachments are inside every container; the runtime looks there, see native/attachment/find.c.
CONTAINER_RUN = "/run/gpupool"
# What tells in a container which runtime is loaded and which attachments it sees.
CONTAINER_DOCTOR = "/usr/bin/gpupool-doctor"
# Folders that dynamic linkers search without being told: those of Debian's and of Red Hat's families and
# musl's (Alpine). The runtime loads there; an LD_LIBRARY_PATH of ours would replace the image's own.
_LIBRARY_FOLDERS = (f"/usr/lib/{os.uname().machine}-linux-gnu", "/usr/lib64", "/usr/lib")
_OPTIONS = ["ro", "nosuid", "nodev", "bind"]


def spec(attachment_id: str, ticket: Path, socket: Path) -> dict[str, Any]:
    """Return the spec of one attachment: runtime, doctor, ticket, the socket's folder; no device node.

    ``ticket`` is the file that holds it.
    """
    own = f"{CONTAINER_RUN}/{attachment_id}"
    libraries = [_mount(paths.RUNTIME, f"{folder}/libcuda.so.1") for folder in _LIBRARY_FOLDERS]
    mounts = [
        *libraries,
        _mount(paths.DOCTOR, CONTAINER_DOCTOR),
        # The folder, not the socket: an agent that starts anew makes a new one.
        _mount(socket.parent, f"{own}/socket"),
        _mount(ticket, f"{own}/ticket"),
    ]
    devices = [{"name": attachment_id, "containerEdits": {"mounts": mounts}}]
    return {"cdiVersion": VERSION, "kind": CDI_KIND, "devices": devices}


def write(folder: Path, attachment_id: str, content: dict[str, Any]) -> None:
    """Write the spec where it is missing or other; only its owner may read it."""
    path = _path(folder, attachment_id)
    try:
        if json.loads(path.read_text()) == content:
            return
    except (FileNotFoundError, ValueError):
        pass
    record.write_json(path, content)


def remove(folder: Path, attachment_id: str) -> None:
    """Remove the spec, if it is there."""
    record.remove(_path(folder, attachment_id))


def _path(folder: Path, attachment_id: str) -> Path:
    return folder / f"gpupool.org-vgpu_{attachment_id}.json"


def _mount(host: Path, container: str) -> dict[str, Any]:
    return {"hostPath": str(host), "containerPath": container, "options": _OPTIONS}
