"""What separates the workers of this host, and what the host does not allow of that."""

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from subprocess import SubprocessError

from oslo_config import cfg

from gpupool.agent import process
from gpupool.agent.folders import Folders
from gpupool.dataplane import paths, worker
from gpupool.dataplane.worker import Sandbox

LOG = logging.getLogger(__name__)
_SUID_DUMPABLE = Path("/proc/sys/fs/suid_dumpable")


def prepare(conf: cfg.ConfigOpts, folders: Folders, sandboxes: Iterable[Sandbox], uids: range) -> Path:
    """Return the program that workers are started from; log once what they can't be separated by."""
    if conf.agent.worker_user:
        LOG.warning(
            "[agent] worker_user has no effect: each vGPU's workers run as a user of their own, see "
            "worker_uids"
        )
    root = os.geteuid() == 0
    executable = paths.WORKER if root else _unreadable(folders)
    if not root:
        LOG.warning(
            "this agent is not root: workers of all vGPUs, whatever their projects, run as its own "
            "user %d; run the agent as root where projects must not trust each other",
            os.geteuid(),
        )
        process.forbid_memory_access()
    with suppress(OSError):
        if _SUID_DUMPABLE.read_text().strip() == "1":
            LOG.warning(
                "fs.suid_dumpable is 1: set it to 0 or 2, so that nobody can open a worker's memory"
            )
    for sandbox in sandboxes:
        _log_missing(sandbox, uids[0] if root else None, executable)
    return executable


def _unreadable(folders: Folders) -> Path:
    try:
        return worker.copy_unreadable(folders.state / "gpupool-worker")
    except OSError as exc:
        LOG.warning("workers can be read by this user's processes while they start: %s", exc)
        return paths.WORKER


def _log_missing(sandbox: Sandbox, uid: int | None, executable: Path) -> None:
    try:
        missing = worker.missing_isolation(sandbox, uid, executable)
    except (OSError, SubprocessError) as exc:
        LOG.error("no worker of sandbox %s can be started: %s", sandbox, exc)
        return
    if missing:
        LOG.warning(
            "this host does not let workers of sandbox %s have their own %s", sandbox, "; ".join(missing)
        )
