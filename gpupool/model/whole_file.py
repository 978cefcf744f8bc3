"""Files that are there whole or not at all, also after the machine lost power.

Losing power keeps only what was synchronized, and a file system may write a file's new name before its
content. So the content is synchronized before the file gets its name: else an empty or torn file could
stand there afterwards. The name is a change of the folder, which is synchronized last: else the old file
could come back, or none, though the caller went on. Until then either is there whole.
"""

import os
from contextlib import suppress
from pathlib import Path


def write(path: Path, content: bytes, *, durable: bool = True, mode: int = 0o600) -> None:
    """Write ``content``, readable by the owner only unless ``mode`` says otherwise.

    A reader sees the old file or the new one. When writing fails (a full disk, say) nothing is left of
    it, the old file stays, and the OSError is raised. Not ``durable``: nothing waits for the disk, for
    content that says nothing once the machine has started anew.
    """
    partial = partial_of(path)
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


def rename(path: Path, to: Path) -> None:
    """Give a file that ``write`` made durable another name, in the same folder, for good."""
    path.replace(to)
    _sync(to.parent)


def partial_of(path: Path) -> Path:
    """Return where ``write`` begins the file; it stays there when the process is killed meanwhile."""
    return path.with_name(f".{path.name}.partial")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
