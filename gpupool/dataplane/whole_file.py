"""Files that are there whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path


def write(
    path: Path, content: bytes, partial: Path, *, durable: bool = False, mode: int = 0o600
) -> None:
    """Write ``content``, readable by the owner only unless ``mode`` says otherwise.

    A reader sees the old file or the new one. ``partial``, on the same file system, is written first.
    When that fails (a full disk, say) nothing is left of it, the old file stays, and the OSError is
    raised. ``durable``: it is there still when the machine loses power right after.
    """
    try:
        partial.touch(mode=0o600)
        partial.write_bytes(content)
        partial.chmod(mode)
        if durable:
            _sync(partial)
        partial.replace(path)
    except BaseException as exc:
        # On a full disk it would keep what others need.
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(exc, OSError) and exc.filename is None:
            # The system call that failed knew a descriptor only.
            exc.filename = str(path)
        raise
    if durable:
        _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
