"""CDI specs: what a container engine puts into a container that asks for an attachment.

Format: Container Device Interface specification 0.5.0 (github.com/cncf-tags/container-device-interface).
One file per attachment, so that taking it away is one unlink.
"""

import json
import sysconfig
from pathlib import Path
from typing import Any

from gpupool.agent import record
from gpupool.dataplane import paths
from gpupool.model.attachment import CDI_KIND

VERSION = "0.5.0"
# Where the session socket is inside every container.
CONTAINER_RUN = "/run/gpupool"
# Folders that the dynamic linkers of Debian's and of Red Hat's families search without being told;
# an LD_LIBRARY_PATH of ours would replace the image's own.
_LIBRARY_FOLDERS = (f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}", "/usr/lib64")
_OPTIONS = ["ro", "nosuid", "nodev", "bind"]


def spec(attachment_id: str, ticket: str, socket: Path) -> dict[str, Any]:
    """Return the spec of one attachment: the runtime and the socket's folder; no device node."""
    libraries = [_mount(paths.RUNTIME, f"{folder}/libcuda.so.1") for folder in _LIBRARY_FOLDERS]
    edits = {
        "env": [f"GPUPOOL_SOCKET={CONTAINER_RUN}/{socket.name}", f"GPUPOOL_TICKET={ticket}"],
        "mounts": [*libraries, _mount(socket.parent, CONTAINER_RUN)],
    }
    devices = [{"name": attachment_id, "containerEdits": edits}]
    return {"cdiVersion": VERSION, "kind": CDI_KIND, "devices": devices}


def write(folder: Path, attachment_id: str, content: dict[str, Any]) -> None:
    """Write the spec where it is missing or other. It holds the ticket."""
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
